"""A run that is done stays done, whatever becomes of its report."""

import shutil
import subprocess
import sys
import warnings
from pathlib import Path

import pytest

from prusc.report import try_report, with_report
from tests.run_folders import make_run


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


def test_a_task_with_a_folder_writes_its_report_and_returns_its_result(run: Path, tmp_path: Path) -> None:
    def task(value: int, *, out: Path | None = None) -> int:
        """Do it."""
        return value + 1

    reporting = with_report(task)
    assert reporting.__doc__ == "Do it."
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert reporting(1, out=run) == 2
        assert reporting(2) == 3
        assert reporting(3, out=None) == 4
    assert (run / "report.html").is_file()
    assert (run / "model-card.md").is_file()


def test_a_report_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    lost = tmp_path / "lost"
    with pytest.warns(UserWarning, match=f"no report: run folder {lost} does not exist; name a folder .the run itself"):
        assert with_report(lambda out: "done")(out=lost) == "done"


def test_an_error_of_the_task_is_raised_and_no_report_is_tried(run: Path) -> None:
    def task(*, out: Path) -> None:
        raise KeyError("of the task")

    with pytest.raises(KeyError, match="of the task"):
        with_report(task)(out=run)
    assert not (run / "report.html").exists()


def test_other_processes_than_the_main_one_write_nothing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prusc.report.after_run.is_main_process", lambda: False)
    assert with_report(lambda out: 1)(out=run) == 1
    assert not (run / "report.html").exists()


def test_plotly_is_imported_with_the_first_report_only() -> None:
    code = (
        "import sys, prusc.report; print('plotly' in sys.modules);"
        "prusc.report.write_report; print('plotly' in sys.modules, hasattr(prusc.report, 'write_reports'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True", "False"]
