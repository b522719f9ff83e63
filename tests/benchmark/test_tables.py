"""From rows to tables, against scipy and pandas and by eye."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from prusc.benchmark.matrix import Cell
from prusc.benchmark.output import write_output
from prusc.benchmark.rows import COLUMNS, read_row, training_seconds
from prusc.benchmark.summary import average_over_panels, paired_interval, panels_table, summarise_rows
from prusc.benchmark.tables import latex_tables, markdown_tables
from prusc.config import FinetuneConfig, RunConfig
from prusc.methods import find_method
from tests.run_folders import make_run

NEEDS = {"erm": "none", "prusc": "none", "group-dro": "training", "dfr": "validation"}


def make_rows(seeds: int = 3, *, data: tuple[str, ...] = ("birds", "faces_100%")) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    rows = [
        {
            "method": method,
            "title": method.upper(),
            "needs": needs,
            "trains_on_validation": method == "dfr",
            "data": name,
            "network": "net",
            "seed": seed,
            "rule": "pseudo-groups",
            "average_accuracy": rng.random(),
            "worst_group_accuracy": rng.random(),
            "cost": 1.0 if method == "erm" else 1 + rng.random(),
        }
        for name in data
        for method, needs in NEEDS.items()
        for seed in range(seeds)
    ]
    return pd.DataFrame(rows, columns=list(COLUMNS))


@pytest.mark.parametrize("folds", [0, 4])
def test_a_row_says_whether_prusc_trained_on_validation(folds: int, tmp_path: Path) -> None:
    cell = Cell("made", "small-cnn", RunConfig(finetune=FinetuneConfig(head_folds=folds)))
    make_run(tmp_path / cell.path)
    assert read_row(cell, tmp_path)["trains_on_validation"] == (folds > 0)


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


def test_tables_say_by_which_rule_and_escape_names() -> None:
    panels = (*average_over_panels(make_rows()), *summarise_rows(make_rows()))
    markdown, latex = markdown_tables(panels), latex_tables(panels)
    assert markdown.count("Chosen by: pseudo-groups.") == 3
    assert "## Mean over all data sets and networks" in markdown
    assert "DFR (+ val)" in markdown
    assert r"faces\_100\%, net. Chosen by: pseudo-groups." in latex
    assert latex.count(r"\begin{tabular}") == 3
    one = markdown_tables(summarise_rows(make_rows(1, data=("birds",))))
    assert "Mean over" not in one
    assert "nan" not in one + markdown


def test_the_same_rows_give_the_same_files(tmp_path) -> None:
    for name in ("a", "b"):
        assert write_output(make_rows(), tmp_path / name) == ()
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["plot.svg", "rows.csv", "rows.parquet", "table.csv", "table.md", "table.tex"]
    for file in set(files) - {"rows.parquet"}:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert pd.read_parquet(tmp_path / "a" / "rows.parquet").shape == make_rows().shape


def test_the_cost_counts_the_shared_erm_for_those_that_start_from_it() -> None:
    seconds = {"erm": 10.0, "clustering": 1.0, "training defaults": 4.0, "training upweight=50": 5.0, "evaluation": 7.0}
    assert training_seconds(find_method("erm"), seconds) == 10
    assert training_seconds(find_method("jtt"), seconds) == 9
    masks = {"erm": 10.0, "clustering": 1.0, "masks": 3.0, "controls": 2.0, "evaluation": 7.0}
    assert training_seconds(find_method("prusc"), masks) == 16
