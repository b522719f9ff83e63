"""Slow, obvious twins of prusc.stages.evidence: tables of two by two, and a root that is searched."""

from collections.abc import Callable, Sequence
from math import sqrt

Z = 1.959963984540054


def conflict_statistic(right: Sequence[bool], conflicting: Sequence[bool], labels: Sequence[int]) -> float:
    """Cochran's and Mantel-Haenszel's statistic from a table of mistakes by conflict for each class."""
    excess = variance = 0.0
    for label in set(labels):
        table = {(wrong, conflict): 0 for wrong in (False, True) for conflict in (False, True)}
        for is_right, conflict, own in zip(right, conflicting, labels, strict=True):
            if own == label:
                table[not is_right, conflict] += 1
        num = sum(table.values())
        if num < 2:
            continue
        wrong, fine = (table[side, False] + table[side, True] for side in (True, False))
        inside, outside = (table[False, side] + table[True, side] for side in (True, False))
        excess += table[True, True] - wrong * inside / num
        variance += wrong * fine * inside * outside / (num * num * (num - 1))
    return excess / sqrt(variance) if variance else 0.0


def measure_gap(
    right: Sequence[bool], conflicting: Sequence[bool], labels: Sequence[int]
) -> tuple[float, tuple[float, float]] | None:
    """Newcombe's interval (method 10) of a difference to a mean that is standardised to the conflicting samples."""
    rows = list(zip(right, conflicting, labels, strict=True))
    here = {label: [r for r, c, y in rows if c and y == label] for label in set(labels)}
    there = {label: [r for r, c, y in rows if not c and y == label] for label in set(labels)}
    both = [label for label in here if here[label] and there[label]]
    if not both:
        return None
    num_here = sum(len(here[label]) for label in both)
    num_right = sum(sum(here[label]) for label in both)
    shares = {label: len(here[label]) / num_here for label in both}
    accuracy = sum(shares[label] * sum(there[label]) / len(there[label]) for label in both)
    num_there = 1 / sum(shares[label] ** 2 / len(there[label]) for label in both)
    gap = accuracy - num_right / num_here
    low, high = wilson(num_right / num_here, num_here)
    low_there, high_there = wilson(accuracy, num_there)
    first = gap - sqrt((accuracy - low_there) ** 2 + (high - num_right / num_here) ** 2)
    second = gap + sqrt((high_there - accuracy) ** 2 + (num_right / num_here - low) ** 2)
    return gap, (first, second)


def wilson(share: float, number: float) -> tuple[float, float]:
    """The proportions that are just so far from the share that it would be surprising."""

    def distance(proportion: float) -> float:
        return abs(share - proportion) - Z * sqrt(proportion * (1 - proportion) / number)

    return search(distance, 0.0, share), search(distance, 1.0, share)


def search(distance: Callable[[float], float], outside: float, inside: float) -> float:
    """The border between where the distance is positive and where it is not."""
    if distance(outside) <= 0:
        return outside
    for _ in range(80):
        middle = (outside + inside) / 2
        outside, inside = (middle, inside) if distance(middle) > 0 else (outside, middle)
    return inside
