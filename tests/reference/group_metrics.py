"""Slow, obvious twins of prusc.evaluation: groups by dictionary, the Wilson interval by bisection."""

import math
from collections.abc import Sequence

Group = tuple[int, ...]


def groups_of(labels: Sequence[int], attributes: Sequence[Sequence[int]]) -> list[Group]:
    return [(label, *values) for label, values in zip(labels, attributes, strict=True)]


def group_accuracies(predictions: Sequence[int], labels: Sequence[int], groups: Sequence[Group]) -> dict[Group, float]:
    """Return the accuracy of every group that has a sample."""
    right: dict[Group, list[bool]] = {}
    for prediction, label, group in zip(predictions, labels, groups, strict=True):
        right.setdefault(group, []).append(prediction == label)
    return {group: sum(values) / len(values) for group, values in right.items()}


def reweighted_accuracy(accuracies: dict[Group, float], train_groups: Sequence[Group]) -> float:
    counts = {group: sum(other == group for other in train_groups) for group in accuracies}
    return sum(accuracies[group] * counts[group] for group in accuracies) / sum(counts.values())


def side_accuracies(
    right: Sequence[bool], groups: Sequence[Group], train_groups: Sequence[Group]
) -> tuple[float, float]:
    """Return the accuracy where the group is as frequent as class and attributes alone would have it, and elsewhere."""
    sides: dict[bool, list[bool]] = {False: [], True: []}
    for is_right, group in zip(right, groups, strict=True):
        of_class = sum(other[0] == group[0] for other in train_groups)
        of_values = sum(other[1:] == group[1:] for other in train_groups)
        together = sum(other == group for other in train_groups)
        sides[together * len(train_groups) < of_class * of_values].append(is_right)
    return sum(sides[False]) / len(sides[False]), sum(sides[True]) / len(sides[True])


def wilson_interval(num_right: int, num_samples: int) -> tuple[float, float]:
    """Find the proportions whose score test just fails to be rejected at the 5 % level."""
    observed = num_right / num_samples

    def score(p: float) -> float:
        return abs(observed - p) - 1.959963984540054 * math.sqrt(p * (1 - p) / num_samples)

    def limit(outside: float) -> float:
        # Between the observed share, which is never rejected, and a proportion beyond the limit.
        inside, beyond = observed, outside
        if score(beyond) <= 0:
            return beyond
        for _ in range(200):
            middle = (inside + beyond) / 2
            inside, beyond = (middle, beyond) if score(middle) <= 0 else (inside, middle)
        return inside

    return limit(0.0), limit(1.0)
