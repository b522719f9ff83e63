"""The report of an audit: every part, and what it lacks."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from prusc.cli.main import run_command_line
from prusc.report.audit_page import best_silhouette, list_first
from prusc.report.reading.run import read_run
from tests.report.pages import HOSTILE, Capture, Page, report_of
from tests.run_folders import make_audit


def test_an_audit_has_a_report_of_its_own(audited: Path, capsys: Capture) -> None:
    audit = audited
    assert run_command_line(["report", str(audit)]) == 0
    assert capsys.readouterr().out == f"Report: {audit / 'report.html'}\n"
    page = Page(audit / "report.html")
    sections = ["clusters", "follows", "map", "attention", "errors", "look", "next", "made"]
    assert [found["id"] for tag, found in page.elements if tag == "section"] == sections
    told = json.loads((audit / "audit.json").read_text())
    assert "A shortcut is suspected: in 1 of 3 clusters, the network fails the other classes." in page.text
    num_right = sum(sum(c["class_counts"].values()) * c["accuracy"] for c in told["clusters"])
    assert f"{100 * num_right / 120:.1f} %" in page.text
    for cluster in told["clusters"]:
        assert f"p = {cluster['p_value']:.3f}" in page.text
    assert page.text.index("Cluster 1: mostly") < page.text.index("Cluster 0: mostly")
    assert json.loads(page.data)["map"]["points"].keys() == {"before"}
    assert page.count("input", type="radio") == 0, "there is no network after"
    assert "look_at.csv" in page.text
    assert "prusc audit --config" in page.text
    assert not (audit / "model-card.md").exists()
    assert page.count("img") + page.count("span", **{"class": "gap"}) > 3 * 8
    assert run_command_line(["report", str(audit), "--figures", "--map", "tsne"]) == 0
    assert {path.name for path in (audit / "figures").iterdir()} == {"map.png", "map.svg"}


@pytest.mark.parametrize(
    ("verdict", "shown"),
    [
        ("unclear", "Unclear: in 1 of 3"),
        ("undecided", "Undecided: too few validation samples conflict"),
        ("not-found", "No suspect: in none of 3 clusters does the test show that the network fails the other classes."),
    ],
)
def test_an_audit_that_suspects_nothing_says_so(tmp_path: Path, verdict: str, shown: str) -> None:
    page = report_of(make_audit(tmp_path / "audit", verdict=verdict, attribute=None))
    assert shown in page.text
    assert "The data have no known attributes, so no group labels were used." in page.text
    assert ("weak structure" in page.text) == (verdict == "not-found")


def test_hostile_names_show_as_text_in_an_audit_too(tmp_path: Path) -> None:
    page = report_of(make_audit(tmp_path / "audit", class_names=HOSTILE, sample_name=HOSTILE[0]))
    for name in HOSTILE:
        assert " ".join(name.split()) in page.text
    assert page.count("script") == 3
    assert not re.search("[<>]", page.data)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda audit: (audit / "look_at.csv").unlink(), "look_at.csv is missing"),
        (lambda audit: shutil.rmtree(audit / "samples"), "samples/samples.csv is missing"),
        (lambda audit: (audit / "samples/map.safetensors").unlink(), "There is no map"),
        (lambda audit: (audit / "clusters.csv").unlink(), "clusters.csv is missing"),
        (
            lambda audit: (audit / "history.csv").write_text("step\n1\n"),
            "a run that continued this audit is not finished",
        ),
    ],
)
def test_what_an_audit_lacks_is_said(audited: Path, change: Callable[[Path], object], shown: str) -> None:
    change(audited)
    page = report_of(audited)
    assert shown in page.text
    assert "A shortcut is suspected" in page.text


def test_the_separation_is_the_best_silhouette_beyond_the_number_of_classes(audited: Path) -> None:
    record = read_run(audited)
    trials = [
        {"num_clusters": 2, "silhouette": 0.9},
        {"num_clusters": 3, "silhouette": None},
        {"num_clusters": 4, "silhouette": 0.3},
        {"num_clusters": 8, "silhouette": 0.5},
    ]
    assert best_silhouette(replace(record, audit={**record.audit, "silhouettes": trials})) == 0.5
    assert best_silhouette(replace(record, audit={**record.audit, "silhouettes": trials[:2]})) is None


def test_images_to_look_at_are_those_of_the_file_with_their_pictures(audited: Path) -> None:
    table = pd.read_csv(audited / "look_at.csv")
    suspects = table[table["is_suspect"]]
    rows = list_first(read_run(audited))
    assert rows
    expected = suspects.head(len(rows))
    assert [row.sample_id for row in rows] == expected["sample_id"].tolist()
    assert [row.prediction for row in rows] == expected["prediction"].tolist()
    assert [row.predicted.is_right for row in rows] == (expected["prediction"] == expected["label"]).tolist()
    pictured = pd.read_csv(audited / "samples/samples.csv").set_index("sample_id")["picture"]
    assert [bool(row.address) for row in rows] == [bool(pictured[row.sample_id] >= 0) for row in rows]
    (audited / "look_at.csv").unlink()
    assert list_first(read_run(audited)) == []


@pytest.mark.parametrize("p_value", [0.2, 0.026, 0.024])
def test_conflicting_samples_that_fail_together_are_told_where_no_value_is_suspect(
    tmp_path: Path, p_value: float
) -> None:
    audit = make_audit(tmp_path / "audit", verdict="not-found")
    told = json.loads((audit / "audit.json").read_text())
    one = {"num_conflicting": 44, "gap": 0.135, "gap_ci95": [-0.054, 0.307], "statistic": 2.0}
    evidence = [{"source": "linear", **one, "p_value": p_value}, {"source": "clusters", **one, "p_value": 0.5}]
    (audit / "audit.json").write_text(json.dumps({**told, "source": "linear", "evidence": evidence}))
    text = " ".join(report_of(audit).text.split())
    assert "linear (in use): the network is 13.5 points (95 % CI -5.4 to 30.7) worse on the 44" in text
    is_clear = p_value <= 0.025
    assert ("Taken together, the samples that conflict with the pseudo-attribute fail more." in text) == is_clear
    assert ("beyond chance, although no single value is suspect; prusc run counts it." in text) == is_clear
    assert "Value 1" in text
    assert "Cluster 1" not in text
