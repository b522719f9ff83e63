"""Charts show the numbers that they are given, and only what a reader can tell apart."""

import pandas as pd
import pytest

from prusc.report.charts import (
    MAX_CHART_GROUPS,
    MAX_CHART_LAYERS,
    NETWORK_STYLES,
    Rating,
    chart_densities,
    chart_flops,
    chart_groups,
    chart_layers,
    chart_losses,
    chart_ratings,
    worst_groups,
)
from tests.report.evaluations import evaluation

BEFORE = evaluation(
    {("cat", "in"): (10, 0.9), ("cat", "out"): (0, None), ("dog", "in"): (20, 0.1), ("dog", "out"): (5, 0.6)}
)
AFTER = evaluation(
    {("dog", "in"): (20, 0.5), ("dog", "out"): (5, 0.8), ("cat", "in"): (10, 0.7), ("cat", "out"): (0, None)}
)


def test_groups_begin_with_the_worst_and_leave_out_empty_ones() -> None:
    assert [group.accuracy for group in worst_groups(BEFORE)] == [0.1, 0.6, 0.9]


def test_each_network_has_a_series_in_the_order_of_the_erm_network() -> None:
    figure = chart_groups({"erm": BEFORE, "subnetwork": AFTER})
    before, after = figure.data
    assert (before.name, after.name) == ("ERM network", "chosen network")
    assert list(before.x) == pytest.approx([10, 60, 90])
    assert list(after.x) == pytest.approx([50, 80, 70])
    assert list(figure.layout.yaxis.ticktext) == ["dog, place in (20)", "dog, place out (5)", "cat, place in (10)"]
    # The bars end where the intervals do.
    low, high = worst_groups(BEFORE)[0].ci95 or (0, 0)
    assert before.error_x.array[0] == pytest.approx(100 * high - 10)
    assert before.error_x.arrayminus[0] == pytest.approx(10 - 100 * low)
    assert {before.marker.symbol, after.marker.symbol} == {"circle", "square"}


def test_many_groups_and_layers_are_cut_where_the_page_says_so() -> None:
    many = evaluation({("cat", str(number)): (10, number / 100) for number in range(60)})
    figure = chart_groups({"erm": many, "subnetwork": many})
    assert list(figure.data[0].x) == pytest.approx([float(number) for number in range(MAX_CHART_GROUPS)])
    layers = {f"layer-{number}": number / 100 for number in range(100)}
    assert list(chart_layers(layers).data[0].x) == pytest.approx([float(number) for number in range(MAX_CHART_LAYERS)])


def test_the_history_is_drawn_in_percent_with_at_most_eight_layers_from_first_to_last() -> None:
    layers = {f"density/layer-{number}": [1.0, number / 20] for number in range(20)}
    history = pd.DataFrame(
        {"step": [1, 2], "cross_entropy": [1.5, 0.5], "contrastive": [2.0, 1.0], "density": [0.9, 0.3], **layers}
    )
    total, *drawn = chart_densities(history).data
    assert list(total.y) == pytest.approx([90, 30])
    assert len(drawn) == 8
    assert (drawn[0].name, drawn[-1].name) == ("layer-0", "layer-19")
    assert list(drawn[-1].y) == pytest.approx([100, 95])
    losses = chart_losses(history).data
    assert [(series.name, list(series.y)) for series in losses] == [
        ("cross-entropy", [1.5, 0.5]),
        ("contrastive loss", [2.0, 1.0]),
    ]


def test_ratings_of_one_series_are_one_trace_with_n_and_interval() -> None:
    ratings = [
        Rating(series, name, figures, *NETWORK_STYLES[family])
        for name, shift in (("one", 0), ("two", 1))
        for series, family, figures in (("ERM network", "erm", BEFORE), ("chosen network", "subnetwork", AFTER))
    ]
    before, after = chart_ratings(ratings).data
    assert list(before.y) == pytest.approx([10, 10])
    assert list(after.x) == pytest.approx([100 * AFTER.average_accuracy] * 2)
    assert "n = 20" in before.text[0]
    assert before.text[0].startswith("one<br>ERM network")


def test_hostile_names_are_text_in_charts() -> None:
    hostile = evaluation({("<b>cat</b>", "in"): (4, 0.5)})
    figure = chart_groups({"erm": hostile, "subnetwork": hostile})
    assert figure.layout.yaxis.ticktext[0] == "&lt;b&gt;cat&lt;/b&gt;, place in (4)"
    assert list(chart_layers({"<i>": 0.5}).layout.yaxis.ticktext) == ["&lt;i&gt;"]


def test_candidates_are_drawn_against_their_operations_in_percent() -> None:
    candidates = pd.DataFrame(
        {"name": ["dense", "mask@1"], "flops": [1.0, 0.25], "score": [0.5, 0.75], "val_average_accuracy": [0.9, 0.8]}
    )
    score, average = chart_flops(candidates).data
    assert (list(score.x), list(score.y)) == ([100, 25], [50, 75])
    assert (list(average.x), list(average.y)) == ([100, 25], [90, 80])
    assert list(score.text) == ["dense", "mask@1"]
