"""Statistics of a benchmark: the interval of a minimum over groups, paired tests over seeds, Holm's correction."""

import math
import statistics
from collections.abc import Sequence

from scipy.stats import beta, t


def worst_group_interval(counts: Sequence[tuple[int, int]], *, confidence: float = 0.95) -> tuple[float, float]:
    """Return an interval for the lowest true accuracy of several groups.

    The interval of the group that happens to be the worst is none for the minimum: the lowest of many noisy accuracies
    is low by chance. A bootstrap of the minimum has the same bias. This interval holds for any number of samples.
    The lower limit is the lowest of the groups' lower limits: the truly worst group's own limit is at least as high.
    The upper limit is the lowest of their upper limits, each with Bonferroni's correction: every group bounds the
    minimum.

    Args:
        counts: Number of right predictions and of samples of each group; groups without samples are left out.
        confidence: Coverage in (0, 1).

    Returns:
        Lower and upper limit in [0, 1].

    References:
        Clopper and Pearson 1934, Biometrika 26, 404-413.
    """
    filled = [(num_right, num_samples) for num_right, num_samples in counts if num_samples]
    tail = (1 - confidence) / 2
    lower = min(_lower_limit(right, total, tail) for right, total in filled)
    upper = min(1 - _lower_limit(total - right, total, tail / len(filled)) for right, total in filled)
    return lower, upper


def _lower_limit(num_right: int, num_samples: int, tail: float) -> float:
    if num_right == 0:
        return 0.0
    return float(beta.ppf(tail, num_right, num_samples - num_right + 1))


def paired_interval(differences: Sequence[float], *, confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the Student-t interval of the mean of paired differences; ``None`` for fewer than two.

    Args:
        differences: One difference per seed.
        confidence: Coverage in (0, 1).

    References:
        Student 1908, Biometrika 6, 1-25.
    """
    count = len(differences)
    if count < 2:
        return None
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    half = float(t.ppf(0.5 + confidence / 2, count - 1)) * deviation / math.sqrt(count)
    return mean - half, mean + half


def paired_p_value(differences: Sequence[float]) -> float | None:
    """Return the two-sided p-value of the paired t test that the mean difference is 0; ``None`` for fewer than two."""
    count = len(differences)
    if count < 2:
        return None
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    if deviation == 0:
        return 1.0 if mean == 0 else 0.0
    return float(2 * t.sf(abs(mean) / (deviation / math.sqrt(count)), count - 1))


def adjust_by_holm(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values that hold for all comparisons together, by Holm's method.

    Args:
        p_values: One per comparison; ``None`` for a comparison that could not be made, which does not count.

    References:
        Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    made = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(made):
        highest = max(highest, min(1.0, (len(made) - rank) * p))
        adjusted[index] = highest
    return adjusted
