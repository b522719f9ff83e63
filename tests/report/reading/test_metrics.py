"""Results that are damaged, incomplete or of another format."""

import json
from pathlib import Path

import pytest

from prusc.cli.main import run_command_line
from prusc.report.reading.metrics import read_audit, read_metrics, read_tested
from tests.report.pages import Capture
from tests.run_folders import change_metrics


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "audit.json is damaged (JSONDecodeError"),
        ('{"format": 7}', "audit.json has format 7, this prusc reads up to format 1"),
        ('{"format": 1}', "audit.json is not as prusc writes it (KeyError: 'data')"),
    ],
)
def test_a_damaged_audit_is_refused(audited: Path, capsys: Capture, content: str, expected: str) -> None:
    (audited / "audit.json").write_text(content)
    assert run_command_line(["report", str(audited)]) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


def test_without_the_files_nothing_is_read(tmp_path: Path) -> None:
    assert read_metrics(tmp_path) == ({}, {}, ())
    assert read_audit(tmp_path) == {}


def test_results_of_a_run_are_those_of_its_file(shared_run: Path) -> None:
    content = json.loads((shared_run / "metrics.json").read_text())
    metrics, evaluations, cells = read_metrics(shared_run)
    assert metrics == content
    for family, splits in content["results"].items():
        for split, values in splits.items():
            found = evaluations[family][split]
            assert found.worst_group_accuracy == values["worst_group_accuracy"]
            assert [group.accuracy for group in found.groups] == [group["accuracy"] for group in values["groups"]]
    assert [vars(cell) for cell in cells] == content["cells"]


def test_the_chosen_network_of_another_method_goes_by_one_name(run: Path) -> None:
    content = json.loads((run / "metrics.json").read_text())
    results, chosen = content["results"], content["chosen"]
    change_metrics(
        run,
        handed_back="jtt",
        method_title="JTT",
        paper="Liu et al. 2021",
        results={"erm": results["erm"], "jtt": results["subnetwork"]},
        chosen={"erm": chosen["erm"], "jtt": "upweight=50"},
        verdict=None,
        verdict_text=None,
        cells=None,
        density_per_layer=None,
    )
    metrics, evaluations, cells = read_metrics(run)
    assert evaluations["subnetwork"]["test"].average_accuracy == results["subnetwork"]["test"]["average_accuracy"]
    assert metrics["chosen"]["subnetwork"] == "upweight=50"
    assert metrics["verdict_text"] == "the result is the network after JTT (Liu et al. 2021)"
    assert (metrics["verdict"], metrics["density_per_layer"], cells) == ("applied", {}, ())


def test_counts_by_class_name_are_those_without_names(shared_run: Path, shared_audit: Path) -> None:
    outcomes = [json.loads(path.read_text()) for path in (shared_run / "metrics.json", shared_audit / "audit.json")]
    of_run, of_audit = (read_tested(outcome) for outcome in outcomes)
    assert of_run is not None
    assert of_audit is not None
    counts = {cluster.cluster: cluster.class_counts for cluster in of_run}
    assert {cluster.cluster: cluster.class_counts for cluster in of_audit} == counts
    assert all(isinstance(cluster.ci95, tuple) for cluster in of_audit)
    assert read_tested({}) is None
