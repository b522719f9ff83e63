"""Every script and benchmark can be imported, so that a rename in the package is noticed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.scripts.scripts import FILES, ROOT

PROGRAMS = [path for path in FILES if "__main__" in path.read_text("utf-8")]


def test_there_are_programs_of_both_kinds() -> None:
    assert {path.parent.name for path in PROGRAMS} == {"scripts", "benchmarks"}
    assert ROOT / "benchmarks" / "startup.py" in PROGRAMS


@pytest.mark.slow
@pytest.mark.parametrize("path", PROGRAMS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_it_shows_its_help(path: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(path), "--help"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: {path.name}")
    assert not list(tmp_path.iterdir())
