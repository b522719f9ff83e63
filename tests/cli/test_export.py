"""prusc export, and the option for smaller networks."""

import json
import shutil
from pathlib import Path

import pytest

from prusc.cli.commands import RunCommand
from prusc.cli.main import _read_settings, run_command_line

Capture = pytest.CaptureFixture[str]


def test_it_prints_the_file_and_what_is_left(shared_channel_run: Path, tmp_path: Path, capsys: Capture) -> None:
    out = tmp_path / "out"
    arguments = ["export", str(shared_channel_run), "--format", "safetensors", "--compact", "--out", str(out)]
    assert run_command_line(arguments) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert f"Network: {out / 'model.safetensors'}, " in printed.out
    assert "of 93,859 parameters" in printed.out
    assert f"How to load it: {out / 'README.md'}" in printed.out


def test_what_cannot_be_exported_is_one_line(shared_channel_run: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run_command_line(["export", str(tmp_path)]) == 2
    assert "holds no finished run" in capsys.readouterr().err
    run = Path(shutil.copytree(shared_channel_run, tmp_path / "run"))
    settings = (run / "config.toml").read_text()
    (run / "config.toml").write_text(settings.replace('model = "small-cnn"', 'model = "evil:build"'))
    assert run_command_line(["export", str(run)]) == 2
    assert "if you trust it, add --trust-models" in capsys.readouterr().err


def test_a_budget_is_a_short_name_of_a_setting(capsys: Capture) -> None:
    for arguments in (["--budget-flops", "0.5"], ["--budget-flops=0.5"], ["--masks.budget-flops", "0.5"]):
        masks = _read_settings(RunCommand, "run", arguments).run.masks
        assert (masks.budget_flops, masks.by_channel) == (0.5, True)
    assert run_command_line(["run", "--budget-flops", "1.5"]) == 2
    assert "masks.budget_flops must be in (0, 1], found 1.5" in " ".join(capsys.readouterr().err.split())
    assert run_command_line(["run", "--budget-flops", "0.5", "--method", "dfr"]) == 2
    assert "absent with other methods" in " ".join(capsys.readouterr().err.split())
    assert run_command_line(["run", "--budget-flops", "0.5", "--masks.granularity", "weight"]) == 2
    assert "masks.granularity must be channel" in " ".join(capsys.readouterr().err.split())


def test_the_run_says_what_it_keeps(shared_channel_run: Path) -> None:
    metrics = json.loads((shared_channel_run / "metrics.json").read_text())
    assert 0 < metrics["flops"] <= 0.5
    header = (shared_channel_run / "candidates.csv").read_text().splitlines()[0]
    assert header.split(",").count("flops") == 1
