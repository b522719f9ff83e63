"""Cells: one ERM for all, resumed, never run twice, and a failure that stays alone."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from safetensors.numpy import load_file

from prusc.benchmark import Workers, parse_matrix, run_bench
from prusc.cli.main import run_command_line
from prusc.methods import MethodInputs, Trained, TrainedMethod, run_method
from prusc.report import write_report
from tests.benchmark.matrices import tiny_matrix, write_matrix
from tests.methods.registering import register_method
from tests.networks import Listener

HERE = Workers(num_workers=1)


@dataclass(frozen=True)
class NoSettings:
    """Nothing to set."""


def register(monkeypatch: pytest.MonkeyPatch, name: str, error: BaseException | None) -> None:
    """Register a remedy that returns the ERM network, or raises."""

    def train(inputs: MethodInputs, settings: NoSettings) -> Trained:
        if error is not None:
            raise error
        return Trained(inputs.erm_network())

    method = TrainedMethod(name, name, "nobody", "none", (NoSettings(),), starts_from_erm=True, train=train)
    register_method(monkeypatch, method)


def snapshot(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_cells_share_one_erm_and_equal_a_run_of_their_own(tmp_path: Path) -> None:
    matrix, out, listener = parse_matrix(tiny_matrix(tmp_path), "tiny"), tmp_path / "bench", Listener()
    result = run_bench(matrix, out, workers=HERE, progress=listener)
    assert result.failed == ()
    assert list(result.rows.method) == ["erm", "prusc", "class-balanced"]
    assert listener.lines[0] == "3 cells, 0 already finished"
    assert listener.lines[1].startswith("[1/4] the shared ERM of birds/small-cnn/original/seed-0; about ")
    assert len(listener.lines) == 5
    folders = [out / folder for folder in result.rows.folder]
    shared = {(folder / "erm.safetensors").stat().st_ino for folder in folders}
    assert shared == {(out / "birds/small-cnn/original/seed-0/erm.safetensors").stat().st_ino}
    times = {json.loads((folder / "metrics.json").read_text())["seconds"]["erm"] for folder in folders}
    assert len(times) == 1
    for cell, folder in zip(matrix.cells(), folders, strict=True):
        alone = tmp_path / cell.method
        run_method(config=cell.config, out=alone)
        for name in ("erm", "model"):
            ours, theirs = (load_file(path / f"{name}.safetensors") for path in (folder, alone))
            assert all((ours[key] == theirs[key]).all() for key in ours | theirs), (cell, name)


def test_what_is_finished_is_not_run_again_and_more_seeds_can_be_added(tmp_path: Path) -> None:
    text, out = tiny_matrix(tmp_path).replace('["prusc", "class-balanced"]', '["erm"]'), tmp_path / "bench"
    run_bench(parse_matrix(text, "tiny"), out, workers=HERE)
    before = snapshot(out / "birds")
    rows = (out / "rows.csv").read_bytes()
    listener = Listener()
    run_bench(parse_matrix(text, "tiny"), out, workers=HERE, progress=listener)
    assert listener.lines == ["1 cells, 1 already finished"]
    assert snapshot(out / "birds") == before
    assert (out / "rows.csv").read_bytes() == rows
    more = run_bench(parse_matrix(text.replace("[0]", "[0, 1]"), "tiny"), out, workers=HERE)
    assert list(more.rows.seed) == [0, 1]
    assert snapshot(out / "birds").items() >= before.items()


def test_a_failed_cell_is_recorded_and_the_rest_goes_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    register(monkeypatch, "broken", ValueError("no\nluck"))
    matrix = write_matrix(tmp_path, tiny_matrix(tmp_path).replace('"prusc"', '"broken"'))
    out = tmp_path / "bench"
    command = ["bench", "--matrix", str(matrix), "--out", str(out), "--workers", "1"]
    assert run_command_line(command) == 1
    assert "failed: broken on birds, small-cnn, seed 0: ValueError: no luck" in capsys.readouterr().out
    recorded = json.loads((out / "birds/small-cnn/broken/seed-0/error.json").read_text())
    assert recorded["error"] == "ValueError: no luck"
    assert "in train" in recorded["details"]
    assert list(pd.read_csv(out / "rows.csv").method) == ["erm", "class-balanced"]
    # Put right, the same command makes up for it, and for it alone.
    register(monkeypatch, "broken", None)
    assert run_command_line(command) == 0
    assert not (out / "birds/small-cnn/broken/seed-0/error.json").exists()
    assert len(pd.read_csv(out / "rows.csv")) == 3


def test_without_its_erm_no_cell_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("no power")

    monkeypatch.setattr("prusc.benchmark.work.start_run", fail)
    out = tmp_path / "bench"
    result = run_bench(parse_matrix(tiny_matrix(tmp_path), "tiny"), out, workers=HERE)
    assert [error for _, error in result.failed] == ["the shared ERM failed: RuntimeError: no power"] * 3
    assert result.rows.empty
    assert (out / "table.md").read_text() == "No cell is finished.\n"
    monkeypatch.undo()
    assert run_bench(parse_matrix(tiny_matrix(tmp_path), "tiny"), out, workers=HERE).failed == ()


def test_a_stopped_benchmark_goes_on_where_it_was(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    register(monkeypatch, "stopping", KeyboardInterrupt())
    text, out = tiny_matrix(tmp_path).replace('"prusc"', '"stopping"'), tmp_path / "bench"
    with pytest.raises(KeyboardInterrupt):
        run_bench(parse_matrix(text, "tiny"), out, workers=HERE)
    finished = snapshot(out / "birds/small-cnn/erm")
    # What is there can be looked at.
    assert pd.read_csv(out / "rows.csv").method.tolist() == ["erm"]
    write_report(out)
    assert (out / "report.html").is_file()
    register(monkeypatch, "stopping", None)
    listener = Listener()
    result = run_bench(parse_matrix(text, "tiny"), out, workers=HERE, progress=listener)
    assert listener.lines[0] == "3 cells, 1 already finished"
    assert len(result.rows) == 3
    assert snapshot(out / "birds/small-cnn/erm") == finished


def test_a_folder_of_other_settings_is_refused_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text, out = tiny_matrix(tmp_path).replace('["prusc", "class-balanced"]', '["erm"]'), tmp_path / "bench"
    run_bench(parse_matrix(text, "tiny"), out, workers=HERE)
    before = snapshot(out)
    matrix = write_matrix(tmp_path, text.replace("epochs = 1", "epochs = 2"))
    assert run_command_line(["bench", "--matrix", str(matrix), "--out", str(out)]) == 2
    assert "other settings (erm.epochs was 1, is 2)" in capsys.readouterr().err
    assert snapshot(out) == before
