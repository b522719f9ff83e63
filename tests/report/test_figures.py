"""Figures as files."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from prusc.cli.main import run_command_line
from prusc.errors import ConfigError
from prusc.report import write_report
from prusc.report.figures import draw_figures
from prusc.report.reading.run import read_run


def test_figures_of_one_run_are_the_same_files_each_time(run: Path) -> None:
    assert run_command_line(["report", str(run), "--figures"]) == 0
    names = {path.name for path in (run / "figures").iterdir()}
    assert names == {f"{name}.{end}" for name in ("groups", "layers", "mask-learning", "map") for end in ("png", "svg")}
    assert (run / "figures" / "groups.png").read_bytes().startswith(b"\x89PNG")
    first = (run / "figures" / "map.svg").read_bytes()
    write_report(run, figures=True)
    assert (run / "figures" / "map.svg").read_bytes() == first


def test_what_a_run_lacks_is_not_drawn(shared_run: Path) -> None:
    record = replace(read_run(shared_run), history=None, samples=None)
    files = draw_figures(record)
    assert set(files) == {"groups.png", "groups.svg", "layers.png", "layers.svg"}
    text = files["groups.svg"].decode()
    assert "ERM network" in text
    assert "chosen network" in text
    unfinished = replace(record, metrics={}, evaluations={})
    assert draw_figures(unfinished) == {}


def test_without_matplotlib_the_error_says_what_to_install(shared_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"figures need matplotlib.*pip install 'prusc\[figures\]'"):
        draw_figures(read_run(shared_run))
