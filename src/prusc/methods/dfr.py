"""DFR: refit the last layer on group-balanced subsets of the validation split."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from prusc.errors import ConfigError
from prusc.methods.held_out import Predict, cross_fit
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_positive
from prusc.methods.trained import Trained, TrainedMethod
from prusc.stages.heads import Head


@dataclass(frozen=True)
class DFRSettings:
    """Settings of DFR.

    Attributes:
        inverse_strengths: Values of C, the inverse strength of the l1 penalty, that are tried.
        num_retrains: Number of fits on group-balanced subsets; the head is their mean.
    """

    inverse_strengths: tuple[float, ...] = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)
    num_retrains: int = 20

    def __post_init__(self) -> None:
        require_positive(self, "num_retrains")
        if not self.inverse_strengths or min(self.inverse_strengths) <= 0:
            raise ConfigError(f"inverse_strengths must be greater than 0, found {self.inverse_strengths!r}")


def fit_sparse_head(
    values: Float[Tensor, "samples dim"],
    labels: Int[Tensor, " samples"],
    *,
    num_classes: int,
    inverse_strength: float,
    max_steps: int = 1000,
    tolerance: float = 1e-5,
) -> Head:
    """Fit a logistic regression with an l1 penalty on the weights; the bias has none.

    Minimises ``C * (sum of cross-entropies) + (sum of absolute weights)`` by accelerated proximal gradient steps. With
    two classes, this equals the usual regression whose one weight vector is the difference of the two.

    Args:
        values: Standardised representations.
        labels: Class of each sample.
        num_classes: Rows of the result.
        inverse_strength: C, greater than 0.
        max_steps: Largest number of steps of the solver.
        tolerance: The solver stops when no coefficient changes by more than this.

    Returns:
        The head, for standardised representations.

    References:
        Beck and Teboulle 2009, "A fast iterative shrinkage-thresholding algorithm", with the restarts of O'Donoghue and
        Candes 2015.
    """
    ones = values.new_ones(len(values), 1)
    design = torch.cat([values, ones], dim=1).double()
    targets = F.one_hot(labels, num_classes).double()
    # The Hessian of the softmax is at most 1/2.
    step = 2 * len(values) / torch.linalg.matrix_norm(design, 2).item() ** 2
    threshold = step / (inverse_strength * len(values))
    coefficients = momentum_point = torch.zeros(num_classes, design.shape[1], dtype=torch.float64)
    pace = 1.0
    for _ in range(max_steps):
        slope = ((design @ momentum_point.T).softmax(dim=1) - targets).T @ design / len(values)
        moved = momentum_point - step * slope
        moved[:, :-1] = F.softshrink(moved[:, :-1], threshold)
        change = moved - coefficients
        if bool(((momentum_point - moved) * change).sum() > 0):
            pace = 1.0
        next_pace = (1 + (1 + 4 * pace**2) ** 0.5) / 2
        momentum_point = moved + (pace - 1) / next_pace * change
        coefficients, pace = moved, next_pace
        if change.abs().max() < tolerance:
            break
    return Head(coefficients[:, :-1].float(), coefficients[:, -1].float())


def _shuffled_groups(groups: Int[Tensor, " samples"], generator: torch.Generator) -> list[Int[Tensor, " members"]]:
    """Return the samples of each non-empty group, in random order."""
    order = torch.randperm(len(groups), generator=generator)
    return [order[groups[order] == group] for group in groups.unique()]


def balanced_subset(groups: Int[Tensor, " samples"], generator: torch.Generator) -> Int[Tensor, " chosen"]:
    """Draw equally many samples of every group: as many as the smallest non-empty group has."""
    own = _shuffled_groups(groups, generator)
    return torch.cat([members[: min(map(len, own))] for members in own])


def halves(groups: Int[Tensor, " samples"], generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Split the samples of every group into two halves; a group of one sample goes to the first half."""
    own = _shuffled_groups(groups, generator)
    return (
        torch.cat([members[: (len(members) + 1) // 2] for members in own]),
        torch.cat([members[(len(members) + 1) // 2 :] for members in own]),
    )


def worst_accuracy(heads: Sequence[Head], values: Tensor, labels: Tensor, groups: Tensor) -> float:
    """Return the worst-group accuracy, averaged over the heads."""
    total = 0.0
    for weight, bias in heads:
        right = ((values @ weight.T + bias).argmax(dim=1) == labels).double()
        total += min(right[groups == group].mean().item() for group in groups.unique())
    return total / len(heads)


def _train(inputs: MethodInputs, settings: DFRSettings) -> Trained:
    """Tune C on halves of the validation split, then fit on the whole split, and cross-fit for the judges.

    Representations are standardised by the training split, as in the paper. Four things differ from it. Every group is
    halved. C is judged by the mean over the retrains. More than two classes share one softmax. The bias has no penalty.
    """
    groups, labels, generator = inputs.val_groups, inputs.val.labels, inputs.generator("subsets")
    assert groups is not None, "declared"
    train = inputs.represent(inputs.trained, inputs.train).held
    mean, std = train.mean(dim=0), train.std(dim=0)
    # A constant unit would be rounding noise divided by almost 0.
    scale = torch.where(std > 1e-6, 1 / std.clamp(min=1e-6), 0.0)
    values = (inputs.represent(inputs.trained, inputs.val).held - mean) * scale

    def fits(chosen: Tensor, inverse_strength: float) -> Iterator[Head]:
        for number in range(settings.num_retrains):
            inputs.progress.advance("DFR", number, settings.num_retrains)
            part = chosen[balanced_subset(groups[chosen], generator)]
            yield fit_sparse_head(
                values[part], labels[part], num_classes=inputs.num_classes, inverse_strength=inverse_strength
            )

    strength = settings.inverse_strengths[0]
    first, second = halves(groups, generator)
    if len(settings.inverse_strengths) > 1 and len(second):
        held_out = (values[second], labels[second], groups[second])
        scores = {c: worst_accuracy(list(fits(first, c)), *held_out) for c in settings.inverse_strengths}
        strength = max(scores, key=lambda c: scores[c])

    def fit(chosen: Tensor) -> Head:
        heads = list(fits(chosen, strength))
        return Head(*(torch.stack(parts).mean(dim=0) for parts in zip(*heads, strict=True)))

    def fit_fold(chosen: Tensor) -> Predict:
        head = fit(chosen)
        return lambda asked: head.logits(values[asked])

    weight, bias = fit(torch.arange(len(labels)))
    val_logits = cross_fit(fit_fold, groups, inputs.generator("folds"))
    network = inputs.erm_network()
    Head(weight * scale, bias - (weight * scale) @ mean).apply(network, inputs.head_name)
    smallest = int(torch.bincount(groups)[groups.unique()].min())
    share = (weight != 0).double().mean().item()
    facts = {"c": strength, "smallest_group": smallest, "share_of_head_weights": share}
    return Trained(network, facts=facts, val_logits=val_logits)


DFR = TrainedMethod(
    name="dfr",
    title="DFR",
    paper="Kirichenko et al. 2023, arXiv:2204.02937",
    group_labels="validation",
    train=_train,
    settings=(DFRSettings(),),
    starts_from_erm=True,
    trains_on_validation=True,
)
