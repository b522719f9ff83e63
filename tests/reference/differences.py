"""Differences of a group within classes the long way: one feature, one class, one pair, one shuffle at a time."""

import random
from collections.abc import Sequence
from itertools import groupby


def stratified_auc(feature: Sequence[float], labels: Sequence[int], inside: Sequence[bool]) -> float:
    """Pairs of one class, weighted by ``n1 n0 / (n + 1)`` a class."""
    total = weights = 0.0
    for label in sorted(set(labels)):
        here = [x for x, y, i in zip(feature, labels, inside, strict=True) if y == label and i]
        rest = [x for x, y, i in zip(feature, labels, inside, strict=True) if y == label and not i]
        if not here or not rest:
            continue
        wins = sum((a > b) + 0.5 * (a == b) for a in here for b in rest)
        weight = len(here) * len(rest) / (len(here) + len(rest) + 1)
        total += weight * wins / (len(here) * len(rest))
        weights += weight
    return total / weights


def stratified_difference(feature: Sequence[float], labels: Sequence[int], inside: Sequence[bool]) -> float:
    """Mean difference, weighted by ``n1 n0 / n`` a class."""
    total = weights = 0.0
    for label in sorted(set(labels)):
        here = [x for x, y, i in zip(feature, labels, inside, strict=True) if y == label and i]
        rest = [x for x, y, i in zip(feature, labels, inside, strict=True) if y == label and not i]
        if here and rest:
            weight = len(here) * len(rest) / (len(here) + len(rest))
            total += weight * (sum(here) / len(here) - sum(rest) / len(rest))
            weights += weight
    return total / weights


def rank_statistic(feature: Sequence[float], labels: Sequence[int], inside: Sequence[bool]) -> float:
    """The standardised sum of the ranks inside, class by class; its variance is that of draws without replacement."""
    found = variance = 0.0
    for label in sorted(set(labels)):
        own = [x for x, y in zip(feature, labels, strict=True) if y == label]
        sides = [i for i, y in zip(inside, labels, strict=True) if y == label]
        size, num = len(own), sum(sides)
        if size < 2:
            continue
        ranks = _ranks(own)
        middle = (size + 1) / 2
        found += sum(r - middle for r, i in zip(ranks, sides, strict=True) if i) / (size + 1)
        spread = sum((r - middle) ** 2 for r in ranks) / (size - 1) / (size + 1) ** 2
        variance += num * (size - num) / size * spread
    return found / variance**0.5 if variance > 1e-12 else 0.0


def _ranks(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=lambda index: values[index])
    ranks = [0.0] * len(values)
    place = 0
    for _, tied in groupby(order, key=lambda index: values[index]):
        indices = list(tied)
        for index in indices:
            ranks[index] = place + (len(indices) + 1) / 2
        place += len(indices)
    return ranks


def max_t_p_values(
    features: Sequence[Sequence[float]],
    labels: Sequence[int],
    values: Sequence[int],
    asked: Sequence[int],
    num_permutations: int,
    source: random.Random,
) -> list[list[float]]:
    """One row per asked value, one column per feature: the share of shuffles whose largest statistic is as large."""

    def statistics(shuffled: Sequence[int]) -> list[list[float]]:
        return [
            [abs(rank_statistic(feature, labels, [v == value for v in shuffled])) for feature in features]
            for value in asked
        ]

    observed = statistics(values)
    exceeded = [[1] * len(features) for _ in asked]
    for _ in range(num_permutations):
        shuffled = list(values)
        for label in set(labels):
            places = [index for index, y in enumerate(labels) if y == label]
            own = [values[index] for index in places]
            source.shuffle(own)
            for place, value in zip(places, own, strict=True):
                shuffled[place] = value
        largest = max(max(row) for row in statistics(shuffled))
        for row, found in zip(exceeded, observed, strict=True):
            for column, statistic in enumerate(found):
                row[column] += largest >= statistic - 1e-9
    return [[count / (1 + num_permutations) for count in row] for row in exceeded]
