"""What to do next: commands that the command line reads back, with the paths of this folder."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from prusc import RunConfig
from prusc.cli.main import run_command_line
from prusc.report.next_steps import list_next_steps
from prusc.report.reading.run import read_run
from prusc.report.record import RunRecord


def commands(record: RunRecord) -> list[list[str]]:
    return [shlex.split(step.command) for step in list_next_steps(record)]


def test_a_run_is_repeated_and_compared(shared_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "it's a run"
    record = replace(read_run(shared_run), path=folder)
    run, compare, report = commands(record)
    again = f"{folder}-seed-1"
    assert run == ["prusc", "run", "--config", f"{folder}/config.toml", "--out", again, "--seed", "1"]
    assert compare == ["prusc", "compare", str(folder), again, "--out", f"{again}.html"]
    assert report == ["prusc", "report", str(folder), "--map", "tsne"]
    # Each is read, and fails only because this folder is not there.
    for words in (run, compare, report):
        assert run_command_line(words[1:]) == 2
        assert str(folder) in " ".join(capsys.readouterr().err.split())


def test_an_audit_and_an_unfinished_run_go_on_in_their_folder(audited: Path, run: Path) -> None:
    for folder in (audited, run):
        if folder == run:
            (run / "metrics.json").unlink()
        first = commands(read_run(folder))[0]
        assert first == ["prusc", "run", "--config", f"{folder}/config.toml", "--out", str(folder)]


def test_a_run_without_a_gain_tries_other_clusters(run: Path) -> None:
    record = read_run(run)
    better = len(list_next_steps(record))
    worse = replace(record, metrics={**record.metrics, "verdict": "shortcut-only"})
    assert len(list_next_steps(worse)) == better + 1
    assert commands(worse)[2][-2:] == ["--clustering.checkpoint", "0"]


def test_what_came_from_python_goes_on_there(run: Path) -> None:
    record = read_run(run)
    record = replace(record, metrics={**record.metrics, "given_in_python": ["model", "data"]})
    first = list_next_steps(record)[0]
    assert "from there" in first.why
    assert first.command == (
        f"prusc.debias(model=model, data=data, config=dataclasses.replace(prusc.config.read_config("
        f"{str(run / 'config.toml')!r}), seed=1), out={str(run) + '-seed-1'!r})"
    )
    compile(first.command, "report", "eval")


def test_a_folder_without_a_name_has_neighbours_all_the_same(shared_run: Path) -> None:
    record = replace(read_run(shared_run), path=Path())
    again = commands(record)[0][5]
    assert again == f"{Path.cwd()}-seed-1"
    record = replace(record, path=Path("runs/v1.2"))
    assert commands(record)[1][-1] == "runs/v1.2-seed-1.html"


def test_a_network_of_the_user_is_named_on_the_command_line(run: Path, tmp_path: Path) -> None:
    config = RunConfig(model="nets:build", data=str(tmp_path))
    words = commands(replace(read_run(run), config=config))
    assert words[0][4:6] == ["--model", "nets:build"]
    assert ["prusc", "check", str(tmp_path)] in words
