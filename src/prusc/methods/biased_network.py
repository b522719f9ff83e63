"""Train a network to rely on the shortcut, and take its mistakes for bias-conflicting samples."""

import torch
from jaxtyping import Bool
from torch import Tensor

from prusc.methods.budget import ERMLength
from prusc.methods.inputs import MethodInputs
from prusc.stages.pseudo_attributes.biased import make_biased_loss
from prusc.stages.representations import Representations


def view_of_biased_network(inputs: MethodInputs, *, num_epochs: int, q: float) -> Representations:
    """Train a biased network, and return what it makes of the training split; trainings alike are shared.

    Args:
        inputs: What the method is given.
        num_epochs: Passes over the training split.
        q: Exponent of the generalised cross-entropy.
    """

    def make() -> Representations:
        schedule = inputs.epochs("biased network", num_epochs)
        loss = make_biased_loss(inputs.train.labels, q=q)
        return inputs.represent(inputs.fit(inputs.new_network(), schedule, "biased network", loss=loss), inputs.train)

    return inputs.once(_name(num_epochs, q), make)


def biased_epochs(share: float, of_erm: int) -> int:
    """Return the epochs of a biased network that trains for a share of ERM's."""
    return max(1, round(share * of_erm))


def biased_network_cost(share: float, q: float, erm: ERMLength) -> dict[str, float]:
    """Return the cost of a biased network in ERM trainings, under the name by which settings share it."""
    num_epochs = biased_epochs(share, erm.epochs)
    return {_name(num_epochs, q): num_epochs / erm.epochs}


def _name(num_epochs: int, q: float) -> str:
    return f"biased network after {num_epochs} epochs with q {q}"


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
    return view_of_biased_network(inputs, num_epochs=num_epochs, q=q).predictions != inputs.train.labels


def upweight(is_chosen: Bool[Tensor, " train"], times: float) -> Tensor:
    """Return sampling weights: ``times`` for the chosen samples, 1 for the others."""
    return torch.where(is_chosen, float(times), 1.0)
