import numpy as np
import pytest
from scipy.stats import binomtest, ttest_1samp

from prusc.benchmark.intervals import adjust_by_holm, paired_p_value, worst_group_interval
from prusc.stages.evaluation import wilson_interval


def test_the_limits_of_one_group_are_those_of_scipy() -> None:
    for right, total in ((0, 7), (3, 7), (7, 7), (40, 50)):
        exact = binomtest(right, total).proportion_ci(0.95, "exact")
        assert worst_group_interval([(right, total)]) == pytest.approx((exact.low, exact.high))
        assert worst_group_interval([(right, total), (0, 0)]) == pytest.approx((exact.low, exact.high))


def test_it_covers_the_true_minimum_where_the_interval_of_the_worst_group_does_not() -> None:
    rng = np.random.default_rng(0)
    size, accuracies = 100, np.full(16, 0.6)
    covered = naive = 0
    for _ in range(200):
        rights = rng.binomial(size, accuracies).tolist()
        low, high = worst_group_interval([(right, size) for right in rights])
        covered += low <= 0.6 <= high
        low, high = wilson_interval(min(rights), size)
        naive += low <= 0.6 <= high
    assert covered >= 0.95 * 200
    assert naive < 0.8 * 200


def test_it_covers_a_minimum_that_one_group_has_alone() -> None:
    rng = np.random.default_rng(1)
    sizes, accuracies = np.array([30, 200, 400, 90]), np.array([0.35, 0.8, 0.95, 0.7])
    covered = 0
    for _ in range(200):
        rights = rng.binomial(sizes, accuracies).tolist()
        low, high = worst_group_interval(list(zip(rights, sizes.tolist(), strict=True)))
        covered += low <= 0.35 <= high
    assert covered >= 0.95 * 200


def test_the_p_value_is_that_of_scipy() -> None:
    differences = np.random.default_rng(2).normal(0.3, 1, 6)
    assert paired_p_value(differences.tolist()) == pytest.approx(ttest_1samp(differences, 0).pvalue)
    assert paired_p_value([0.1]) is None
    assert paired_p_value([0.0, 0.0]) == 1.0
    assert paired_p_value([0.5, 0.5]) == 0.0


def test_holm_is_worked_out_by_hand() -> None:
    assert adjust_by_holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert adjust_by_holm([0.9, None, 0.6]) == [1.0, None, 1.0]
    assert adjust_by_holm([]) == []


def test_holm_never_rejects_more_than_without_and_never_less_than_bonferroni() -> None:
    p_values = np.random.default_rng(3).random(12) / 10
    found = adjust_by_holm(p_values.tolist())
    for p, adjusted in zip(p_values, found, strict=True):
        assert adjusted is not None
        assert p <= adjusted <= min(1.0, 12 * p) + 1e-12
