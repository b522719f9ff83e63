"""One row a cell: its training, its cost and its results."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from prusc.benchmark.intervals import worst_group_interval
from prusc.benchmark.matrix import Cell
from prusc.benchmark.rows import COLUMNS, HEADS, read_cell, read_row, read_rows, training_seconds
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
    counts = [(round(g["accuracy"] * g["num_samples"]), g["num_samples"]) for g in test["groups"] if g["num_samples"]]
    assert (row["ci95_low"], row["ci95_high"]) == worst_group_interval(counts)
    assert row["num_groups"] == len(counts)
    assert row["num_samples_smallest_group"] == min(total for _, total in counts)
    assert row["version"] == metrics["prusc"]
    worst = [g["num_samples"] for g in test["groups"] if g["accuracy"] == test["worst_group_accuracy"]]
    assert row["num_samples_worst_group"] in worst
    assert (row["method"], row["seed"], row["setting"], row["density"]) == ("prusc", 4, "mask@5", 0.3)
    assert row["folder"] == "made/small-cnn/prusc/seed-4"
    assert row["cost"] == pytest.approx(row["seconds"] / 1.5, abs=1e-3)


def test_unfinished_cells_have_no_row(tmp_path: Path) -> None:
    cells = [Cell("made", "small-cnn", RunConfig(seed=seed)) for seed in range(3)]
    make_run(tmp_path / cells[1].path)
    found = read_rows(cells, tmp_path)
    assert found["seed"].unique().tolist() == [1]
    assert list(found) == list(COLUMNS)
    empty = read_rows(cells[:1], tmp_path)
    assert empty.empty
    assert list(empty) == list(COLUMNS)


def test_prusc_with_controls_has_a_row_for_the_heads_of_the_whole_network(tmp_path: Path) -> None:
    cell = Cell("made", "small-cnn", RunConfig(seed=4))
    folder = make_run(tmp_path / cell.path)
    metrics = json.loads((folder / "metrics.json").read_text())
    metrics["chosen"]["last_layer"] = "dense/head(l2=1)"
    (folder / "metrics.json").write_text(json.dumps(metrics))
    row, heads = read_cell(cell, tmp_path)
    assert heads["method"] == HEADS
    assert heads["family"] == "last_layer"
    assert heads["setting"] == metrics["chosen"]["last_layer"]
    assert heads["worst_group_accuracy"] == metrics["results"]["last_layer"]["test"]["worst_group_accuracy"]
    assert heads["seconds"] == pytest.approx(
        sum(metrics["seconds"].get(stage, 0) for stage in ("erm", "clustering", "controls")), abs=1e-3
    )
    assert row["folder"] == heads["folder"]
    # Without controls there is no such row.
    del metrics["results"]["last_layer"]
    (folder / "metrics.json").write_text(json.dumps(metrics))
    assert [found["method"] for found in read_cell(cell, tmp_path)] == ["prusc"]
    # A variant, and another method, have one row each.
    other = replace(cell, variant="mine")
    make_run(tmp_path / other.path)
    assert [found["method"] for found in read_cell(other, tmp_path)] == ["mine"]


def test_a_row_has_what_other_choices_among_the_candidates_would_have_had(tmp_path: Path) -> None:
    cell = Cell("made", "small-cnn", RunConfig())
    folder = make_run(tmp_path / cell.path)
    assert read_row(cell, tmp_path)["best_worst_group_accuracy"] is None
    table = pd.DataFrame(
        {
            "name": ["a", "b", "c"],
            "test_average_accuracy": [0.5, 0.6, 0.7],
            "test_worst_group_accuracy": [0.3, 0.1, 0.2],
            "test_conflicting_accuracy": [0.4, 0.9, 0.5],
            "val_worst_group_accuracy": [0.0, 0.2, 0.2],
            "val_balanced_accuracy": [0.9, 0.5, 0.4],
            "own_score": [0.1, 0.2, 0.3],
        }
    )
    table.to_csv(folder / "candidates.csv", index=False)
    row = read_row(cell, tmp_path)
    assert row["num_candidates"] == 3
    measures = ("average", "worst_group", "conflicting")
    for choice, expected in (("groups", (0.6, 0.1, 0.9)), ("own", (0.7, 0.2, 0.5)), ("best", (0.7, 0.3, 0.9))):
        assert tuple(row[f"{choice}_{measure}_accuracy"] for measure in measures) == expected
    # The ERM network is no candidate of PruSC's own.
    table.assign(family=["erm", "subnetwork", "subnetwork"]).to_csv(folder / "candidates.csv", index=False)
    row = read_row(cell, tmp_path)
    assert (row["num_candidates"], row["best_worst_group_accuracy"]) == (2, 0.2)
