"""The command prusc modularity: from a folder of images to masks and a page, and its errors."""

import json
from pathlib import Path

import pytest

from prusc.cli.main import run_command_line
from prusc.config import read_config

Capture = pytest.CaptureFixture[str]
QUICK = ("--modularity.masks.steps", "1", "--modularity.masks.batch-size", "4", "--modularity.masks.no-require-skill")


def arguments(faces: Path, out: Path, by: str) -> list[str]:
    return [
        "modularity",
        *("--config", str(faces / "tiny.toml")),
        *("--data", str(faces)),
        *("--out", str(out)),
        *("--by", by),
        *QUICK,
    ]


def test_masks_of_an_attributes_values_are_learned_told_and_shown(faces: Path, out: Path, capsys: Capture) -> None:
    assert run_command_line(arguments(faces, out, "column:Male")) == 0
    printed = capsys.readouterr().out
    told = json.loads((out / "modularity.json").read_text())
    names = [function["name"] for function in told["functions"]]
    assert names[0] == "all samples"
    assert [name.startswith("Male: ") for name in names[1:]] == [True, True]
    for name in names:
        assert name in printed
    assert f"Report: {out / 'report.html'}" in printed
    assert read_config(out / "config.toml").modularity.by == "column:Male"
    before = (out / "report.html").read_bytes()
    assert run_command_line(["report", str(out)]) == 0
    assert len((out / "report.html").read_bytes()) == len(before)
    assert run_command_line(arguments(faces, out, "column:Male")) == 2
    assert "holds finished masks of functions" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("by", "message"),
    [
        ("colour", "modularity.by must be class, attribute:NAME or column:NAME, found 'colour'"),
        ("attribute:Smiling", "have no attribute 'Smiling'"),
        ("column:Smiling", "Smiling"),
        ("class", "class removal needs at least 3 classes, found 2"),
    ],
)
def test_an_error_is_one_line_and_leaves_no_folder(
    faces: Path, out: Path, by: str, message: str, capsys: Capture
) -> None:
    assert run_command_line(arguments(faces, out, by)) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert "Traceback" not in printed.err
    assert not out.exists()
