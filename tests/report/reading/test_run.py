"""Run folders that are whole, incomplete, damaged or none."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from prusc.cli.main import run_command_line
from tests.report.pages import Capture, Page, damage, remove, report_of
from tests.run_folders import change_metrics


def test_a_finished_run_is_not_reported_as_the_audit_that_it_went_on_from(run: Path) -> None:
    (run / "audit.json").write_text("{")
    assert "prusc found a better network." in report_of(run).text


@pytest.mark.parametrize(
    ("change", "missing", "shown"),
    [
        (remove("samples/samples.csv"), "samples/samples.csv is missing", "There is no map"),
        (remove("samples/map.safetensors"), "map.safetensors is missing: the report lacks the map", "is no map"),
        (remove("samples/attention.safetensors"), "attention.safetensors is missing", "Not shown: samples/attention"),
        (remove("samples/pictures-000.webp"), "pictures-000.webp is missing", "30 of 30 pictures are missing"),
        (remove("history.csv"), "history.csv is missing", "No mask was learned yet"),
        (remove("clusters.csv", "candidates.csv", "log.txt"), "clusters.csv is missing", "Cluster 0"),
        (damage("samples/samples.csv"), "samples/samples.csv cannot be read", "There is no map"),
        (damage("samples/map.safetensors"), "map.safetensors cannot be read", "There is no map"),
        (damage("samples/thumbnails-000.webp"), "thumbnails-000.webp cannot be read", "120 validation samples"),
        (damage("candidates.csv"), "candidates.csv cannot be read", "How it was made"),
        (damage("history.csv"), "history.csv cannot be read", "No mask was learned yet"),
    ],
)
def test_what_is_missing_is_said_and_the_rest_is_shown(
    run: Path, capsys: Capture, change: Callable[[Path], object], missing: str, shown: str
) -> None:
    change(run)
    assert run_command_line(["report", str(run)]) == 0
    assert missing in capsys.readouterr().out
    page = Page(run / "report.html")
    assert missing in page.text
    assert shown in page.text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda run: shutil.rmtree(run), "run folder RUN does not exist"),
        (remove("config.toml"), "folder RUN has no config.toml, so it is no run folder; name the --out of a prusc run"),
        (lambda run: (run / "config.toml").write_text("sed = 1"), "unknown setting sed; ... prusc 0.1.0 wrote it"),
        (lambda run: change_metrics(run, format=2), "metrics.json has format 2, this prusc reads up to format 1"),
        (lambda run: change_metrics(run, format=None), "metrics.json is damaged (KeyError: 'format')"),
        (lambda run: change_metrics(run, results={}), "metrics.json is not as prusc writes it (KeyError: 'erm')"),
        (lambda run: change_metrics(run, density=None), "metrics.json is not as prusc writes it (KeyError: 'density')"),
        (lambda run: change_metrics(run, cells=[1]), "metrics.json is not as prusc writes it (TypeError"),
        (damage("metrics.json"), "metrics.json is damaged (UnicodeDecodeError"),
    ],
)
def test_what_is_no_run_is_refused(run: Path, capsys: Capture, change: Callable[[Path], object], expected: str) -> None:
    change(run)
    assert run_command_line(["report", str(run)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("prusc: ") == 1
    assert "Traceback" not in printed.err
    pattern = ".*".join(map(re.escape, expected.replace("RUN", str(run)).split(" ... ")))
    assert re.search(pattern, " ".join(printed.err.split())), printed.err
    assert not (run / "report.html").exists()
