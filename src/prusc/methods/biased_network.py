"""Train a network to rely on the shortcut, and take its mistakes for bias-conflicting samples."""

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from prusc.losses import generalized_cross_entropy
from prusc.methods.inputs import MethodInputs
from prusc.models.calls import call_model


def find_conflicting(inputs: MethodInputs, *, num_epochs: int, q: float) -> Bool[Tensor, " train"]:
    """Find the training samples that a biased network misclassifies.

    The network is trained by the generalised cross-entropy, which favours easy samples, so it relies on the shortcut.

    Args:
        inputs: What the method is given.
        num_epochs: Passes over the training split.
        q: Exponent of the loss; the larger it is, the less the hard samples count.

    Returns:
        Whether each training sample is taken for bias-conflicting.

    References:
        Park et al. 2023, arXiv:2210.05247, after Nam et al. 2020, arXiv:2007.02561.
    """
    labels = inputs.train.labels

    def loss(model: nn.Module, batch: Tensor, indices: Tensor) -> Tensor:
        return generalized_cross_entropy(call_model(model, batch), labels[indices].to(batch.device), q=q).mean()

    def make() -> Tensor:
        schedule = inputs.epochs("biased network", num_epochs)
        biased = inputs.fit(inputs.new_network(), schedule, "biased network", loss=loss)
        return inputs.represent(biased, inputs.train).predictions != labels

    return inputs.once(f"bias-conflicting after {num_epochs} epochs with q {q}", make)


def upweight(is_chosen: Bool[Tensor, " train"], times: float) -> Tensor:
    """Return sampling weights: ``times`` for the chosen samples, 1 for the others."""
    return torch.where(is_chosen, float(times), 1.0)
