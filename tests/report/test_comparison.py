"""Runs side by side."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from prusc import RunConfig
from prusc.cli.main import run_command_line
from prusc.config import ERMConfig
from prusc.errors import RunFolderError
from prusc.report import compare_runs
from prusc.report.comparison import compare_groups, differing_settings, list_audits, list_runs, short_names
from prusc.report.reading.run import read_run
from tests.report.pages import Capture, Page
from tests.run_folders import make_audit, make_run


def test_runs_side_by_side(run: Path, tmp_path: Path, capsys: Capture) -> None:
    other = make_run(tmp_path / "other", seed=1)
    out = tmp_path / "pages" / "comparison.html"
    assert run_command_line(["compare", str(run), str(other), "--out", str(out)]) == 0
    page = Page(out)
    links = [found["href"] for tag, found in page.elements if tag == "a" and (found["href"] or "").endswith(".html")]
    assert links == ["../run/report.html", "../other/report.html"]
    for folder in (run, other):
        after = json.loads((folder / "metrics.json").read_text())["results"]["subnetwork"]["test"]
        assert f"{100 * after['worst_group_accuracy']:.1f} %" in page.text
    (other / "metrics.json").unlink()
    for arguments, expected in (
        ([str(run)], "at least two different run folders; found 1"),
        ([str(run), str(run)], "at least two different run folders; found 1"),
        ([str(run), str(other)], "other holds an unfinished run; finish it first"),
    ):
        capsys.readouterr()
        assert run_command_line(["compare", *arguments]) == 2
        assert expected in " ".join(capsys.readouterr().err.split())


def test_audits_are_compared_alone_and_beside_runs(run: Path, audited: Path, tmp_path: Path) -> None:
    second = make_audit(tmp_path / "second", verdict="not-found")
    page_path = tmp_path / "page.html"
    compare_runs([audited, second], page_path)
    page = Page(page_path)
    assert "2 audits side by side" in page.text
    assert [found["id"] for tag, found in page.elements if tag == "section"] == ["audits", "settings"]
    assert page.text.count("suspected") == 1
    assert "Cluster 1 (mostly" in page.text
    assert "left: bluer; place is in: more often" in page.text
    first, other = list_audits([read_run(audited), read_run(second)], page_path)
    told = json.loads((audited / "audit.json").read_text())
    assert (first.num_suspects, first.num_clusters, first.structure) == (1, 3, "strong")
    assert first.accuracy == pytest.approx(
        sum(sum(c["class_counts"].values()) * c["accuracy"] for c in told["clusters"]) / 120
    )
    assert (other.num_suspects, other.suspects, other.verdict) == (0, (), "not-found")
    compare_runs([run, audited], page_path)
    page = Page(page_path)
    assert "1 run and 1 audit side by side" in page.text
    assert [found["id"] for tag, found in page.elements if tag == "section"] == [
        "runs",
        "chart",
        "groups",
        "audits",
        "settings",
    ]


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["/a/one", "/a/two"], ["one", "two"]),
        (["/a/one/seed-0", "/a/two/seed-0"], ["one/seed-0", "two/seed-0"]),
        (["/one", "/a/one"], ["//one", "a/one"]),
    ],
)
def test_names_are_as_short_as_they_differ(paths: list[str], expected: list[str]) -> None:
    assert short_names([Path(path) for path in paths]) == expected


def test_links_lead_from_the_page_and_are_never_of_another_kind(shared_run: Path, tmp_path: Path) -> None:
    record = read_run(shared_run)
    runs = [replace(record, path=tmp_path / name) for name in ("javascript:alert(1)", "a/b")]
    links = [row.link for row in list_runs(runs, tmp_path / "page.html")]
    assert links == ["./javascript:alert(1)/report.html", "./a/b/report.html"]
    links = [row.link for row in list_runs(runs, tmp_path / "a" / "page.html")]
    assert links == ["../javascript:alert(1)/report.html", "./b/report.html"]


def test_only_settings_that_differ_are_listed_with_every_value(shared_run: Path, tmp_path: Path) -> None:
    record = read_run(shared_run)
    configs = (RunConfig(seed=1), RunConfig(seed=2, erm=ERMConfig(epochs=3)), RunConfig(seed=1))
    runs = [replace(record, path=tmp_path / str(number), config=config) for number, config in enumerate(configs)]
    found = differing_settings(runs)
    default = str(RunConfig().erm.epochs)
    assert found == [("erm.epochs", [default, "3", default]), ("seed", ["1", "2", "1"])]


def test_a_group_that_one_run_lacks_is_a_gap_there(shared_run: Path, tmp_path: Path) -> None:
    record = read_run(shared_run)
    fewer = {
        family: {split: replace(found, groups=found.groups[1:]) for split, found in splits.items()}
        for family, splits in record.evaluations.items()
    }
    runs = [replace(record, path=tmp_path / "a", evaluations=fewer), replace(record, path=tmp_path / "b")]
    groups = compare_groups(list_runs(runs, tmp_path / "page.html"))
    assert len(groups) == 4
    gaps = [group for group in groups if group.before[0] is None]
    [gap] = gaps
    assert gap.after[0] is None
    assert gap.before[1] == record.evaluations["erm"]["test"].groups[0]
    assert gap.after[1] == record.evaluations["subnetwork"]["test"].groups[0]


def test_runs_on_different_data_are_said_not_to_compare(run: Path, shared_run: Path, tmp_path: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"data": {**metrics["data"], "name": "others"}}))
    compare_runs([run, shared_run], tmp_path / "page.html")
    assert "These folders use different data sets" in Page(tmp_path / "page.html").text
    with pytest.raises(RunFolderError, match=r"is a folder; name a file for the page with --out"):
        compare_runs([run, shared_run], tmp_path)
