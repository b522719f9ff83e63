"""Slow, obvious twins of parts of prusc.stages.audit.clusters: counted one sample at a time."""

from collections.abc import Mapping, Sequence
from math import comb, sqrt

from scipy.stats import norm


def smallest_visible_loss(
    right: Sequence[bool], labels: Sequence[int], cluster_ids: Sequence[int], mains: Mapping[int, int], level: float
) -> float:
    """The loss that a one-sided normal test finds with a probability of 80 % in the cluster where it sees most."""
    rows = list(zip(right, labels, cluster_ids, strict=True))
    variances = {}
    for cluster, main in mains.items():
        others = [label for _, label, own in rows if own == cluster and label != main]
        total = 0.0
        for label in set(others):
            number, of_class = others.count(label), [is_right for is_right, y, _ in rows if y == label]
            share = sum(of_class) / len(of_class)
            total += number * max(share * (1 - share), 1 / number)
        if others:
            variances[cluster] = total / len(others) ** 2
    factor = norm.ppf(1 - level / len(variances)) + norm.ppf(0.8)
    return min(1.0, *(float(factor * sqrt(variance)) for variance in variances.values()))


def weak_class_p_values(right: Sequence[bool], labels: Sequence[int]) -> dict[int, float]:
    """For each class the probability that so few of all right predictions, or fewer, fall into it by chance."""
    num, num_right = len(labels), sum(right)
    found = {}
    for label in set(labels):
        size = list(labels).count(label)
        own = sum(is_right for is_right, y in zip(right, labels, strict=True) if y == label)
        ways = sum(comb(num_right, k) * comb(num - num_right, size - k) for k in range(own + 1) if k <= num_right)
        found[label] = ways / comb(num, size)
    return found
