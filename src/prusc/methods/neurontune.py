"""NeuronTune: zero the representation's dimensions that grow where the network is wrong, and refit the head."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from prusc.config.checks import require
from prusc.methods.held_out import Predict, cross_fit
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod
from prusc.stages.heads import Head, fit_head

_CLASSES: tuple[Literal["any", "mean"], ...] = ("any", "mean")


@dataclass(frozen=True)
class NeuronTuneSettings:
    """Settings of NeuronTune.

    Attributes:
        classes: Whether a dimension is zeroed if it grows for ``any`` class, as in the paper, or in the ``mean`` over
            the classes. With many classes nearly every dimension grows for some class.
        threshold: Dimensions whose difference of medians exceeds so many standard deviations are zeroed; the paper has
            0.
        l2: Strength of the regularisation of the head; see `prusc.stages.heads.fit_head`.
    """

    classes: Literal["any", "mean"] = "any"
    threshold: float = 0.0
    l2: float = 1.0

    def __post_init__(self) -> None:
        require(self.classes in ("any", "mean"), "classes", self.classes, "any or mean")
        require_not_negative(self, "threshold")
        require_positive(self, "l2")


def measure_dimensions(
    values: Float[Tensor, "samples dim"],
    labels: Int[Tensor, " samples"],
    wrong: Bool[Tensor, " samples"],
    *,
    classes: str = "any",
) -> Float[Tensor, " dim"]:
    """Return how much each dimension grows where the network is wrong about a class.

    The growth is the median over the samples of a class that are predicted wrong, minus the median over those that are
    predicted right.

    Args:
        values: Representations of held-out samples.
        labels: Class of each sample.
        wrong: Whether the network predicts another class.
        classes: ``any`` for the largest growth over the classes, ``mean`` for the mean.

    Returns:
        The growth, over the classes that have samples of both kinds; minus infinity without such a class.

    References:
        NeuronTune, ICML 2025.
    """
    found = []
    for label in labels.unique():
        inside = labels == label
        right_values, wrong_values = values[inside & ~wrong], values[inside & wrong]
        if len(right_values) and len(wrong_values):
            # The median of an even number of samples is the mean of the middle two.
            medians = [part.quantile(0.5, dim=0) for part in (wrong_values, right_values)]
            found.append(medians[0] - medians[1])
    if not found:
        return values.new_full((values.shape[1],), -torch.inf)
    growth = torch.stack(found)
    return growth.mean(dim=0) if classes == "mean" else growth.max(dim=0).values


def _train(inputs: MethodInputs, settings: NeuronTuneSettings) -> Trained:
    """Find the dimensions on the validation split, zero them, and refit the head there with balanced classes."""
    seen = inputs.once("representations", lambda: inputs.represent(inputs.trained, inputs.val))
    wrong, deviation = seen.predictions != seen.labels, seen.held.std(dim=0)

    def fit(chosen: Tensor) -> tuple[Head, Tensor]:
        values, labels = seen.values[chosen], seen.labels[chosen]
        growth = measure_dimensions(values, labels, wrong[chosen], classes=settings.classes)
        zeroed = growth > settings.threshold * deviation
        weights = 1 / torch.bincount(labels)[labels].double()
        # A dimension that is constant gets weight 0.
        kept = values * ~zeroed
        return fit_head(kept, labels, weights, num_classes=inputs.num_classes, l2=settings.l2), zeroed

    def fit_fold(chosen: Tensor) -> Predict:
        head, _ = fit(chosen)
        return lambda asked: head.logits(seen.values[asked])

    head, zeroed = fit(torch.arange(len(seen.labels)))
    network = inputs.erm_network()
    head.apply(network, inputs.head_name)
    val_logits = cross_fit(fit_fold, seen.labels, inputs.generator("folds"))
    facts = {"num_zeroed": int(zeroed.sum()), "num_mistakes": int(wrong.sum())}
    return Trained(network, facts=facts, val_logits=val_logits)


NEURONTUNE = TrainedMethod(
    name="neurontune",
    title="NeuronTune",
    paper="NeuronTune, ICML 2025",
    group_labels="none",
    train=_train,
    settings=(
        NeuronTuneSettings(),
        NeuronTuneSettings(classes="mean"),
        *(
            NeuronTuneSettings(classes=classes, l2=l2)
            for l2 in (0.1, 0.01, 10.0, 1e-3, 1e-4, 1e-5, 100.0)
            for classes in _CLASSES
        ),
    ),
    starts_from_erm=True,
    trains_on_validation=True,
)
