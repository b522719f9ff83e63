"""From rows to numbers, against scipy and pandas."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from prusc.benchmark.intervals import adjust_by_holm, paired_interval
from prusc.benchmark.summary import EVERYWHERE, average_over_panels, panels_table, summarise_rows
from tests.benchmark.rows import NEEDS, make_rows


def test_means_deviations_and_differences_are_those_of_pandas_and_scipy() -> None:
    rows = make_rows(5)
    flat = panels_table(summarise_rows(rows)).set_index(["data", "method"])
    for (data, method), own in rows.groupby(["data", "method"]):
        found = flat.loc[(data, method)]
        assert found.average_mean == pytest.approx(own.average_accuracy.mean())
        assert found.average_sd == pytest.approx(own.average_accuracy.std(ddof=1))
        assert found.worst_group_sd == pytest.approx(own.worst_group_accuracy.std(ddof=1))
        assert found.cost == pytest.approx(own.cost.mean())
        reference = rows[(rows.data == data) & (rows.method == "erm")].worst_group_accuracy.to_numpy()
        if method == "erm":
            assert np.isnan(found.difference_mean)
            continue
        limits = ttest_rel(own.worst_group_accuracy.to_numpy(), reference).confidence_interval(0.95)
        assert (found.difference_low, found.difference_high) == pytest.approx((limits.low, limits.high))


def test_a_seed_that_erm_lacks_is_left_out_of_the_differences() -> None:
    rows = make_rows(3, data=("birds",))
    rows = rows[(rows.method != "erm") | (rows.seed < 2)]
    difference = next(m for m in summarise_rows(rows)[0].methods if m.method == "prusc").difference
    assert difference is not None
    assert difference.num_seeds == 2
    assert paired_interval([0.1]) is None


def test_methods_without_group_labels_come_first_the_best_of_them_at_the_top() -> None:
    for panel in summarise_rows(make_rows()):
        assert [m.needs for m in panel.methods] == ["none", "none", "validation", "training"]
        assert panel.methods[0].worst_group.mean >= panel.methods[1].worst_group.mean


def test_the_mean_over_all_is_made_seed_by_seed() -> None:
    rows = make_rows(3)
    [overall] = average_over_panels(rows)
    assert {method.method for method in overall.methods} == set(NEEDS)
    worst = rows.pivot_table("worst_group_accuracy", "seed", "method")
    found = next(method for method in overall.methods if method.method == "prusc")
    assert found.worst_group.deviation == pytest.approx(worst.prusc.std(ddof=1))
    assert found.difference is not None
    limits = ttest_rel(worst.prusc, worst.erm).confidence_interval(0.95)
    assert found.difference.interval == pytest.approx((limits.low, limits.high))
    # A seed that one data set lacks is left out, and so is a method without a seed on all.
    fewer = rows[(rows.data == "birds") | ((rows.method != "dfr") & ((rows.method != "prusc") | (rows.seed < 2)))]
    [overall] = average_over_panels(fewer)
    assert {m.method: m.num_seeds for m in overall.methods} == {"erm": 3, "prusc": 2, "group-dro": 3}
    assert average_over_panels(rows[rows.data == "birds"]) == ()
    assert average_over_panels(rows[(rows.data == "birds") == (rows.seed == 0)]) == ()


def test_the_interval_is_that_of_student_at_any_confidence() -> None:
    rng = np.random.default_rng(1)
    ours, theirs = rng.random(6), rng.random(6)
    for confidence in (0.5, 0.95, 0.99):
        limits = ttest_rel(ours, theirs).confidence_interval(confidence)
        found = paired_interval((ours - theirs).tolist(), confidence=confidence)
        assert found == pytest.approx((limits.low, limits.high))
    assert paired_interval([]) is None


def test_the_flat_table_has_gaps_where_there_is_nothing_to_compare() -> None:
    flat = panels_table(summarise_rows(make_rows(1, data=("birds",)))).set_index("method")
    assert flat["average_sd"].isna().all()
    assert flat["difference_low"].isna().all()
    assert np.isnan(flat.loc["erm"].difference_mean)
    assert flat["num_differences"].to_dict() == {name: int(name != "erm") for name in flat.index}
    assert panels_table([]).empty


def test_panels_keep_the_order_of_their_rows_and_the_mean_over_all_has_a_name_of_its_own() -> None:
    rows = make_rows(2)
    assert [panel.data for panel in summarise_rows(rows)] == ["birds", "faces_100%"]
    [overall] = average_over_panels(rows)
    assert (overall.data, overall.network, overall.rule) == (EVERYWHERE, EVERYWHERE, "pseudo-groups")


def test_p_values_are_corrected_within_a_panel_and_the_ceiling_is_not_counted() -> None:
    rows = make_rows(5, data=("birds",))
    ceiling = rows[rows.method == "dfr"].assign(method="erm-unbiased", needs="unbiased data")
    [panel] = summarise_rows(pd.concat([rows, ceiling], ignore_index=True))
    worst = rows.pivot_table("worst_group_accuracy", "seed", "method")
    p_values = {name: ttest_rel(worst[name], worst.erm).pvalue for name in ("prusc", "group-dro", "dfr")}
    expected = dict(zip(p_values, adjust_by_holm(list(p_values.values())), strict=True))
    for method in panel.methods:
        difference = method.difference
        if method.method in expected:
            assert difference is not None
            assert difference.p_value == pytest.approx(p_values[method.method])
            assert difference.p_holm == pytest.approx(expected[method.method])
    assert panel.methods[-1].method == "erm-unbiased"
    assert panel.methods[-1].difference is not None
    assert panel.methods[-1].difference.p_holm is None


def test_a_mean_over_panels_of_different_measures_says_so_and_uses_that_of_each() -> None:
    rows = make_rows(3).assign(conflicting_accuracy=0.5, num_samples_smallest_group=30)
    rows["num_groups"] = rows.data.map({"birds": 4, "faces_100%": 100})
    [overall] = average_over_panels(rows)
    assert overall.measure == "mixed"
    worst = rows[rows.data == "birds"].pivot_table("worst_group_accuracy", "seed", "method")
    found = next(method for method in overall.methods if method.method == "prusc").difference
    assert found is not None
    assert found.mean == pytest.approx((worst.prusc - worst.erm).mean() / 2)
