"""Stage 10: average, per-group and worst-group accuracy. PruSC reads group attributes only here."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import pandas as pd
import torch
from jaxtyping import Bool, Int
from scipy.stats import norm
from torch import Tensor

from prusc.data.table import Data, Split
from prusc.engine.display import describe_with_table


@dataclass(frozen=True)
class GroupAccuracy:
    """Accuracy of one group.

    Attributes:
        label: Name of the class.
        attributes: Value of each attribute by its name; empty if the data have none.
        num_samples: Samples of the group in this split.
        accuracy: In [0, 1]; ``None`` for an empty group.
        ci95: 95 % Wilson interval of the accuracy; ``None`` for an empty group.
    """

    label: str
    attributes: dict[str, str]
    num_samples: int
    accuracy: float | None
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class AttributeWorstGroup:
    """The worst group if one attribute alone defines the groups.

    Attributes:
        name: Name of the attribute.
        worst_group_accuracy: Lowest accuracy over the non-empty groups (class x value of this attribute).
        worst_group_ci95: 95 % Wilson interval of that accuracy.
        worst_group: The group.
    """

    name: str
    worst_group_accuracy: float
    worst_group_ci95: tuple[float, float]
    worst_group: GroupAccuracy


@dataclass(frozen=True, repr=False)
class GroupEvaluation:
    """Accuracies of one network on one split, all in [0, 1].

    Attributes:
        average_accuracy: Over the samples.
        balanced_accuracy: Mean over the non-empty groups.
        reweighted_accuracy: Mean over the non-empty groups, weighted by their share of the training split.
        worst_group_accuracy: Lowest over the non-empty groups.
        worst_group_ci95: 95 % Wilson interval of that group's accuracy.
        num_samples: Samples of the split.
        groups: Every combination of class and attribute values, including empty ones.
        attributes: The worst group of each attribute alone.
        aligned_accuracy: Over the samples of groups that are as frequent in the training split as class and attributes
            alone would have it, or more frequent; ``None`` without such samples or attributes of the training split.
        conflicting_accuracy: Over the samples of the rarer groups.
    """

    average_accuracy: float
    balanced_accuracy: float
    reweighted_accuracy: float
    worst_group_accuracy: float
    worst_group_ci95: tuple[float, float]
    num_samples: int
    groups: tuple[GroupAccuracy, ...]
    attributes: tuple[AttributeWorstGroup, ...] = ()
    aligned_accuracy: float | None = None
    conflicting_accuracy: float | None = None

    def __repr__(self) -> str:
        low, high = self.worst_group_ci95
        return (
            f"GroupEvaluation(average {100 * self.average_accuracy:.1f} %, worst group "
            f"{100 * self.worst_group_accuracy:.1f} % [{100 * low:.1f}, {100 * high:.1f}] of "
            f"{len(self.groups)} groups, {self.num_samples} samples)"
        )

    def _repr_html_(self) -> str:
        return describe_with_table(self, self.to_frame())

    @property
    def worst_group(self) -> GroupAccuracy:
        """The group with the lowest accuracy; the first one of a tie."""
        return _worst_group(self.groups)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per group: class, attributes, number of samples, accuracy and its 95 % interval."""
        rows = []
        for group in self.groups:
            low, high = group.ci95 or (math.nan, math.nan)
            accuracy = math.nan if group.accuracy is None else group.accuracy
            figures = {"num_samples": group.num_samples, "accuracy": accuracy, "ci95_low": low, "ci95_high": high}
            rows.append({"class": group.label, **group.attributes, **figures})
        return pd.DataFrame(rows)


def average_ci95(evaluation: GroupEvaluation) -> tuple[float, float]:
    """Return the 95 % Wilson interval of the average accuracy."""
    return wilson_interval(round(evaluation.average_accuracy * evaluation.num_samples), evaluation.num_samples)


def wilson_interval(num_right: float, num_samples: float, *, confidence: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a proportion.

    Args:
        num_right: Number of successes.
        num_samples: Number of trials, at least 1.
        confidence: Coverage in (0, 1).

    Returns:
        Lower and upper limit in [0, 1].

    References:
        Wilson 1927, JASA 22, 209-212.
    """
    z = float(norm.ppf(0.5 + confidence / 2))
    share = num_right / num_samples
    denominator = 1 + z * z / num_samples
    centre = (share + z * z / (2 * num_samples)) / denominator
    half = z * ((share * (1 - share) + z * z / (4 * num_samples)) / num_samples) ** 0.5 / denominator
    return max(0.0, centre - half), min(1.0, centre + half)


def accuracy_loss(
    right: Bool[Tensor, " samples"],
    labels: Int[Tensor, " samples"],
    here: Bool[Tensor, " samples"],
    there: Bool[Tensor, " samples"],
) -> tuple[float, tuple[float, float]]:
    """Return how much lower the accuracy is on some samples than on others of the same classes.

    Args:
        right: Whether each prediction is right.
        labels: Class of each sample.
        here: The samples with the loss, at least one.
        there: The samples to compare with, of which each class of ``here`` has some. Classes count as often as in
            ``here``.

    Returns:
        The loss in [-1, 1], and its 95 % interval.

    References:
        Newcombe 1998, Statistics in Medicine 17, 873-890, method 10: combines the two Wilson intervals.
    """
    num_classes = int(labels.max()) + 1
    shares = torch.bincount(labels[here], minlength=num_classes).double() / int(here.sum())
    sizes = torch.bincount(labels[there], minlength=num_classes).double().clamp(min=1)
    right_there = torch.bincount(labels[there & right], minlength=num_classes).double()
    expected = (shares * right_there / sizes).sum().item()
    # The effective number of samples behind the weighted mean.
    num_expected = 1 / (shares.square() / sizes).sum().item()
    num_here, num_right = int(here.sum()), int(right[here].sum())
    found = num_right / num_here
    low_found, high_found = wilson_interval(num_right, num_here)
    low_expected, high_expected = wilson_interval(expected * num_expected, num_expected)
    loss = expected - found
    low = loss - ((expected - low_expected) ** 2 + (high_found - found) ** 2) ** 0.5
    high = loss + ((high_expected - expected) ** 2 + (found - low_found) ** 2) ** 0.5
    return loss, (low, high)


def evaluate_groups(
    predictions: Int[Tensor, " samples"], split: Split, data: Data, *, combined: Sequence[int] | None = None
) -> GroupEvaluation:
    """Evaluate predictions on average, per group and on the worst group.

    Args:
        predictions: Predicted class of each sample of the split, in its order.
        split: Labels and, if known, attributes; without attributes the groups are the classes.
        data: Names of classes and attributes; its training split gives the weights of the re-weighted accuracy.
        combined: Positions of the attributes that define the groups; all of them if ``None``.

    Returns:
        All accuracies, in [0, 1].

    Example:
        >>> import prusc
        >>> data = prusc.load_data("fashion-stickers")
        >>> always_right = prusc.evaluate_groups(data.test.labels, data.test, data)
        >>> always_right.worst_group_accuracy, len(always_right.groups)
        (1.0, 16)
    """
    chosen = tuple(range(len(data.attribute_names)) if combined is None else combined)
    if split.attributes is None:
        chosen = ()
    right = predictions == split.labels
    groups = _evaluate_each(right, split, data, chosen)
    known = not chosen or data.train.attributes is not None
    train_shares = [
        float(_members(data.train, label, chosen, values).sum()) if known else float(group.num_samples)
        for group, (label, *values) in zip(groups, _combinations(data, chosen), strict=True)
    ]
    filled = [(group, share) for group, share in zip(groups, train_shares, strict=True) if group.accuracy is not None]
    accuracies = torch.tensor([group.accuracy for group, _ in filled], dtype=torch.float64)
    shares = torch.tensor([share for _, share in filled], dtype=torch.float64)
    worst = _worst_group(groups)
    assert worst.accuracy is not None and worst.ci95 is not None
    average = right.double().mean().item()
    sides = _mean_of_sides(groups, train_shares, data.num_classes) if chosen and known else (None, None)
    return GroupEvaluation(
        average_accuracy=average,
        balanced_accuracy=accuracies.mean().item(),
        reweighted_accuracy=((accuracies * shares).sum() / shares.sum()).item() if shares.sum() > 0 else average,
        worst_group_accuracy=worst.accuracy,
        worst_group_ci95=worst.ci95,
        num_samples=len(split),
        groups=groups,
        attributes=tuple(_evaluate_alone(right, split, data, attribute) for attribute in chosen),
        aligned_accuracy=sides[0],
        conflicting_accuracy=sides[1],
    )


def group_ids(split: Split, data: Data) -> Int[Tensor, " samples"] | None:
    """Number the groups in the order of `GroupEvaluation.groups`.

    Args:
        split: Labels and attributes.
        data: The data of the split.

    Returns:
        Group of each sample, or ``None`` if the split has no attributes.
    """
    if split.attributes is None:
        return None
    ids = split.labels
    for values, names in zip(split.attributes.T, data.attribute_values, strict=True):
        ids = ids * len(names) + values
    return ids


def _combinations(data: Data, attributes: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Yield each label with each combination of values of these attributes."""
    return product(range(data.num_classes), *(range(len(data.attribute_values[a])) for a in attributes))


def _evaluate_each(right: Tensor, split: Split, data: Data, attributes: Sequence[int]) -> tuple[GroupAccuracy, ...]:
    groups: list[GroupAccuracy] = []
    for label, *values in _combinations(data, attributes):
        inside = _members(split, label, attributes, values)
        num_samples, num_right = int(inside.sum()), int(right[inside].sum())
        groups.append(
            GroupAccuracy(
                label=data.class_names[label],
                attributes={
                    data.attribute_names[a]: data.attribute_values[a][value]
                    for a, value in zip(attributes, values, strict=True)
                },
                num_samples=num_samples,
                accuracy=num_right / num_samples if num_samples else None,
                ci95=wilson_interval(num_right, num_samples) if num_samples else None,
            )
        )
    return tuple(groups)


def _evaluate_alone(right: Tensor, split: Split, data: Data, attribute: int) -> AttributeWorstGroup:
    worst = _worst_group(_evaluate_each(right, split, data, (attribute,)))
    assert worst.accuracy is not None and worst.ci95 is not None
    return AttributeWorstGroup(data.attribute_names[attribute], worst.accuracy, worst.ci95, worst)


def _mean_of_sides(
    groups: Sequence[GroupAccuracy], train_sizes: Sequence[float], num_classes: int
) -> tuple[float | None, float | None]:
    """Return the accuracy over the samples of the aligned groups, and over those of the conflicting ones.

    A group conflicts if it is rarer in the training split than its class and its attribute values alone would have it.
    """
    sizes = torch.tensor(train_sizes, dtype=torch.float64).view(num_classes, -1)
    expected = sizes.sum(dim=1, keepdim=True) * sizes.sum(dim=0) / sizes.sum()
    # Rounding must not decide for a group that is exactly as frequent as expected.
    conflicting = (sizes < expected - 1e-9).flatten().tolist()
    means: list[float | None] = []
    for side in (False, True):
        own = [group for group, conflicts in zip(groups, conflicting, strict=True) if conflicts == side]
        num_samples = sum(group.num_samples for group in own)
        num_right = sum(group.num_samples * (group.accuracy or 0.0) for group in own)
        means.append(num_right / num_samples if num_samples else None)
    return means[0], means[1]


def _worst_group(groups: Sequence[GroupAccuracy]) -> GroupAccuracy:
    return min(groups, key=lambda group: math.inf if group.accuracy is None else group.accuracy)


def _members(split: Split, label: int, attributes: Sequence[int], values: Sequence[int]) -> Tensor:
    inside = split.labels == label
    if split.attributes is not None:
        for attribute, value in zip(attributes, values, strict=True):
            inside = inside & (split.attributes[:, attribute] == value)
    return inside
