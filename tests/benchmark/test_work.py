"""One run by a worker: its error is recorded, and its threads are given back."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from prusc.benchmark import parse_matrix, work
from prusc.benchmark.matrix import Cell
from prusc.benchmark.work import (
    cell_task,
    describe_error,
    is_done,
    limited_threads,
    original_task,
    record_error,
    run_task,
)
from prusc.errors import ConfigError
from tests.benchmark.matrices import tiny_matrix


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    return parse_matrix(tiny_matrix(tmp_path), "tiny").cells()[-1]


def test_a_cell_begins_with_the_run_that_it_shares(cell: Cell, tmp_path: Path) -> None:
    task, original = cell_task(cell, tmp_path), original_task(cell, tmp_path)
    assert task.original == original.path == tmp_path / "birds/small-cnn/original/seed-0"
    assert task.path == tmp_path / "birds/small-cnn/class-balanced/seed-0"
    assert original.original is None
    assert (task.config.method, original.config.method) == ("class-balanced", "erm")


def test_both_kinds_of_runs_are_done_once_they_are_run(cell: Cell, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for task in (original_task(cell, out), cell_task(cell, out)):
        assert not is_done(task)
        assert run_task(task, 1) is None
        assert is_done(task)
    # Again, nothing runs: the data are not even there.
    gone = replace(cell_task(cell, out), config=replace(cell.config, data=str(tmp_path / "gone")))
    assert run_task(gone, 1) is None


def test_an_error_is_returned_and_recorded_with_its_traceback_and_forgotten_once_it_is_gone(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(**_: Any) -> None:
        raise ValueError("no\nluck")

    out = tmp_path / "out"
    assert run_task(original_task(cell, out), 1) is None
    monkeypatch.setattr(work, "apply_method", fail)
    task, num_threads = cell_task(cell, out), torch.get_num_threads()
    assert run_task(task, num_threads + 1) == "ValueError: no luck"
    assert torch.get_num_threads() == num_threads
    recorded = json.loads((task.path / "error.json").read_text())
    assert recorded["error"] == "ValueError: no luck"
    assert recorded["details"].startswith("Traceback (most recent call last)")
    monkeypatch.undo()
    assert run_task(task, 1) is None
    assert not (task.path / "error.json").exists()


def test_the_folder_of_a_recorded_error_is_that_of_its_run(cell: Cell, tmp_path: Path) -> None:
    task = cell_task(cell, tmp_path / "out")
    assert record_error(task, "its worker died") == "its worker died"
    assert (task.path / "config.toml").is_file()
    assert json.loads((task.path / "error.json").read_text()) == {"error": "its worker died", "details": ""}


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ConfigError("one\n  two"), "one two"),
        (ValueError("one"), "ValueError: one"),
        (ValueError(), "ValueError"),
    ],
)
def test_an_error_is_one_line_with_its_class_unless_it_is_ours(error: Exception, expected: str) -> None:
    assert describe_error(error) == expected


def test_threads_are_given_back_after_an_error_too() -> None:
    before = torch.get_num_threads()
    inside = []

    def fail() -> None:
        with limited_threads(before + 1):
            inside.append(torch.get_num_threads())
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert inside == [before + 1]
    assert torch.get_num_threads() == before
