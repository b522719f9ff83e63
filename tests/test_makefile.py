"""What `make demo` calls, with a stand-in for the command."""

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def make_demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the target; the stand-in tells how it was called and fails if it is asked to run in a finished folder."""
    venv, out = tmp_path / "venv", tmp_path / "demo"
    (venv / "bin").mkdir(parents=True, exist_ok=True)
    program = venv / "bin" / "prusc"
    program.write_text(f'#!/bin/sh\necho "called: $@"\n[ "$1" = report ] || [ ! -f {out}/metrics.json ] || exit 2\n')
    program.chmod(0o755)
    (venv / ".stamp").touch()
    command = ["make", "--no-print-directory", "demo", f"VENV={venv}", f"OUT={out}", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_a_second_demo_shows_what_is_there_instead_of_failing(tmp_path: Path) -> None:
    out = tmp_path / "demo"
    first = make_demo(tmp_path)
    assert f"called: run --out {out}" in first.stdout
    out.mkdir()
    (out / "metrics.json").touch()
    second = make_demo(tmp_path)
    assert second.returncode == 0
    assert f"{out} holds a finished run already; nothing is run" in second.stdout
    assert f"called: report {out}" in second.stdout
    assert "make demo ARGS=--force" in second.stdout


def test_options_are_never_passed_over_in_silence(tmp_path: Path) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "metrics.json").touch()
    other = make_demo(tmp_path, "ARGS=--seed 1")
    assert f"called: run --out {tmp_path / 'demo'} --seed 1" in other.stdout
    assert other.returncode == 2
