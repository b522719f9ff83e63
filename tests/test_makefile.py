"""What `make demo` and `make test` call, with stand-ins for the commands."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def run_make(target: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Without what `make test`, which may run these tests, was given.
    given = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "ARGS"))}
    command = ["make", "--no-print-directory", target, *arguments]
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, check=False)


def write_program(path: Path, script: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def make_demo(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the target; the stand-in tells how it was called and fails if it is asked to run in a finished folder."""
    venv, out = tmp_path / "venv", tmp_path / "demo"
    script = f'echo "called: $@"\n[ "$1" = report ] || [ ! -f {out}/metrics.json ] || exit 2'
    write_program(venv / "bin" / "prusc", script)
    (venv / ".stamp").touch()
    return run_make("demo", f"VENV={venv}", f"OUT={out}", *arguments)


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


@pytest.mark.parametrize("failing", ["nothing", "ruff", "mypy", "lint-imports", "python"])
def test_lint_runs_beside_the_tests_and_either_can_fail(tmp_path: Path, failing: str) -> None:
    names = ("ruff", "mypy", "lint-imports", "python")
    for name in names:
        write_program(tmp_path / "bin" / name, f'echo "called: {name} $@"\nexit {int(name == failing)}')
    axe = tmp_path / "axe.min.js"
    for path in (tmp_path / ".stamp", axe):
        path.touch()
    done = run_make("test", f"VENV={tmp_path}", f"AXE={axe}", "ARGS=--few", "WORKERS=3")
    assert "called: python -m pytest -n 3 --dist worksteal --few" in done.stdout
    assert (done.returncode == 0) == (failing == "nothing")
    # Lint stops at what fails first.
    for name in names[: names.index(failing) + 1] if failing != "nothing" else names:
        assert f"called: {name}" in done.stdout
    assert ("lint failed" in done.stderr) == (failing in ("ruff", "mypy", "lint-imports"))
    assert ("tests failed" in done.stderr) == (failing == "python")
