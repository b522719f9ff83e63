"""One row a cell: its training, its cost and its results."""

import json
from pathlib import Path

import pytest

from prusc.benchmark.matrix import Cell
from prusc.benchmark.rows import COLUMNS, read_row, read_rows, training_seconds
from prusc.config import FinetuneConfig, RunConfig
from prusc.methods import find_method
from tests.run_folders import make_run


@pytest.mark.parametrize("folds", [0, 4])
def test_a_row_says_whether_prusc_trained_on_validation(folds: int, tmp_path: Path) -> None:
    cell = Cell("made", "small-cnn", RunConfig(finetune=FinetuneConfig(head_folds=folds)))
    make_run(tmp_path / cell.path)
    assert read_row(cell, tmp_path)["trains_on_validation"] == (folds > 0)


def test_the_cost_counts_the_shared_erm_for_those_that_start_from_it() -> None:
    seconds = {"erm": 10.0, "clustering": 1.0, "training defaults": 4.0, "training upweight=50": 5.0, "evaluation": 7.0}
    assert training_seconds(find_method("erm"), seconds) == 10
    assert training_seconds(find_method("jtt"), seconds) == 9
    masks = {"erm": 10.0, "clustering": 1.0, "masks": 3.0, "controls": 2.0, "evaluation": 7.0}
    assert training_seconds(find_method("prusc"), masks) == 16


def test_a_row_has_the_results_of_the_chosen_network_on_the_test_split(tmp_path: Path) -> None:
    cell = Cell("made", "small-cnn", RunConfig(seed=4))
    metrics = json.loads((make_run(tmp_path / cell.path) / "metrics.json").read_text())
    row = read_row(cell, tmp_path)
    test = metrics["results"]["subnetwork"]["test"]
    assert set(row) == set(COLUMNS)
    for name in ("average_accuracy", "worst_group_accuracy", "balanced_accuracy"):
        assert row[name] == test[name]
    assert [row["ci95_low"], row["ci95_high"]] == test["worst_group_ci95"]
    worst = [g["num_samples"] for g in test["groups"] if g["accuracy"] == test["worst_group_accuracy"]]
    assert row["num_samples_worst_group"] in worst
    assert (row["method"], row["seed"], row["setting"], row["density"]) == ("prusc", 4, "mask@5", 0.3)
    assert row["folder"] == "made/small-cnn/prusc/seed-4"
    assert row["cost"] == pytest.approx(row["seconds"] / 1.5, abs=1e-3)


def test_unfinished_cells_have_no_row(tmp_path: Path) -> None:
    cells = [Cell("made", "small-cnn", RunConfig(seed=seed)) for seed in range(3)]
    make_run(tmp_path / cells[1].path)
    found = read_rows(cells, tmp_path)
    assert found["seed"].tolist() == [1]
    assert list(found) == list(COLUMNS)
    empty = read_rows(cells[:1], tmp_path)
    assert empty.empty
    assert list(empty) == list(COLUMNS)
