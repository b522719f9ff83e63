"""Reports as files: folders and disks that take none, and errors after a run."""

from pathlib import Path

from prusc.cli.main import run_command_line
from tests.report.pages import Capture


def test_a_folder_that_cannot_be_written(run: Path, capsys: Capture) -> None:
    (run / "report.html").mkdir()
    assert run_command_line(["report", str(run)]) == 2
    assert "report.html cannot be written: " in capsys.readouterr().err
    assert not list(run.glob(".*")), "a file that was half written"
