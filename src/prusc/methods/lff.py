"""LfF: train a biased and a debiased network together; the biased one weights the samples of the other."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.config.checks import require
from prusc.losses import generalized_cross_entropy
from prusc.methods.budget import Cost
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive, require_share
from prusc.methods.trained import Trained, TrainedMethod
from prusc.models.calls import call_model


@dataclass(frozen=True)
class LfFSettings:
    """Settings of LfF.

    Attributes:
        q: Exponent of the biased network's generalised cross-entropy.
        memory: Decay of the moving average of each sample's loss, in [0, 1).
        share: Epochs of training as a share of the epochs of ERM.
        total_decay: Strength of the weight decay (see `MethodInputs.weight_decay`); that of ERM if ``None``.
    """

    q: float = 0.7
    memory: float = 0.7
    share: float = 1.0
    total_decay: float | None = None

    def __post_init__(self) -> None:
        require_positive(self, "q", "share")
        require_share(self, "q")
        require_not_negative(self, "total_decay")
        require(0 <= self.memory < 1, "memory", self.memory, "in [0, 1)")


class LossAverages:
    """A moving average of the loss of every sample.

    Args:
        labels: Class of each sample.
        memory: Decay of the average, in [0, 1).
        device: Device of the losses.
    """

    def __init__(self, labels: Int[Tensor, " samples"], memory: float, device: torch.device) -> None:
        self.labels = labels.to(device)
        self.memory = memory
        self.values: Float[Tensor, " samples"] = torch.zeros(len(labels), device=device)
        self.is_known: Bool[Tensor, " samples"] = torch.zeros(len(labels), dtype=torch.bool, device=device)

    def update(self, losses: Float[Tensor, " batch"], indices: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        """Update the averages, and return them divided by the largest average of their class.

        Args:
            losses: Losses of some samples, at least 0, without gradients. The first loss of a sample is its first
                average.
            indices: Indices of these samples, without repetition.
        """
        memory = torch.where(self.is_known[indices], self.memory, 0.0)
        self.values[indices] = memory * self.values[indices] + (1 - memory) * losses
        self.is_known[indices] = True
        largest = self.values.new_zeros(int(self.labels.max()) + 1)
        largest.scatter_reduce_(0, self.labels, self.values, "amax")
        return self.values[indices] / largest[self.labels[indices]].clamp(min=1e-8)


def relative_difficulty(biased: Float[Tensor, " batch"], debiased: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return the biased network's share of the two losses; it is near 1 where only that network fails.

    Args:
        biased: Averaged losses of the biased network, at least 0.
        debiased: Averaged losses of the debiased network, at least 0.

    Returns:
        Weight of each sample, in [0, 1].

    References:
        Nam et al. 2020, arXiv:2007.02561, equation 5.
    """
    return biased / (biased + debiased).clamp(min=1e-8)


class _Pair(nn.Module):
    """Both networks in one module, so that one loop trains them; no gradient flows between them."""

    def __init__(self, debiased: nn.Module, biased: nn.Module) -> None:
        super().__init__()
        self.debiased = debiased
        self.biased = biased


def _train(inputs: MethodInputs, settings: LfFSettings) -> Trained:
    """Train both networks together, and return the debiased one, which minimises the weighted cross-entropy.

    In the paper's code the networks start from different weights. Here they start from the same ones, which may be
    published weights. With several processes, each one averages the losses that it has seen itself.
    """
    labels, device = inputs.train.labels, inputs.feed.runtime.device
    averages = [LossAverages(labels, settings.memory, device) for _ in range(2)]
    last_weights = torch.zeros(len(labels), device=device)

    def loss(pair: nn.Module, batch: Tensor, indices: Tensor) -> Tensor:
        assert isinstance(pair, _Pair)
        own, places = labels[indices].to(device), indices.to(device)
        logits = [call_model(network, batch).float() for network in (pair.biased, pair.debiased)]
        losses = [F.cross_entropy(values, own, reduction="none") for values in logits]
        known = [a.update(values.detach(), places) for a, values in zip(averages, losses, strict=True)]
        weights = last_weights[places] = relative_difficulty(*known)
        return (weights * losses[1]).mean() + generalized_cross_entropy(logits[0], own, q=settings.q).mean()

    pair = _Pair(inputs.new_network(), inputs.new_network())
    schedule = inputs.epochs("batches", max(1, round(settings.share * inputs.config.erm.epochs)))
    inputs.fit(pair, schedule, "LfF", loss=loss, total_decay=settings.total_decay)
    return Trained(pair.debiased, facts={"samples_above_half": int((last_weights > 0.5).sum())})


LFF = TrainedMethod(
    name="lff",
    title="LfF",
    paper="Nam et al. 2020, arXiv:2007.02561",
    group_labels="none",
    train=_train,
    settings=(
        LfFSettings(),
        LfFSettings(share=0.5),
        LfFSettings(share=0.5, total_decay=1.0),
        LfFSettings(share=0.2),
        LfFSettings(share=0.2, total_decay=1.0),
    ),
    starts_from_erm=False,
    # Two networks learn.
    cost=lambda settings, erm: Cost(2 * max(1, round(settings.share * erm.epochs)) / erm.epochs),
)
