"""Reports as files: folders and disks that take none, and errors after a run."""

import shutil
import subprocess
from pathlib import Path

import pytest

from prusc.cli.main import run_command_line
from prusc.report import try_report
from tests.report.pages import Capture
from tests.run_folders import make_run


def test_a_folder_that_cannot_be_written(run: Path, capsys: Capture) -> None:
    (run / "report.html").mkdir()
    assert run_command_line(["report", str(run)]) == 2
    assert "report.html cannot be written: " in capsys.readouterr().err
    assert not list(run.glob(".*")), "a file that was half written"


def test_a_full_disk_spoils_no_finished_run(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        run = make_run(disk / "run")
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        problem = try_report(run)
        assert problem is not None
        assert "No space left on device" in problem
        assert "\n" not in problem
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_whatever_goes_wrong_after_a_run_is_told_in_one_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug\nof two lines")

    monkeypatch.setattr("prusc.report.write.render_run", fail)
    assert try_report(run) == f"a bug of two lines (the run itself is complete; prusc report {run} tries again)"
