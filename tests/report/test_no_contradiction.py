"""Verdict, suspects, groups and audit never contradict each other on a page; every figure is that of the files."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from prusc.report import write_report
from tests.conftest import make_once
from tests.report.pages import Page
from tests.report.planted_runs import PLANS, run_plan
from tests.run_folders import change_metrics

UNCONFIRMED = "does not confirm"
UNPROVEN = "The validation split does not prove that the chosen network is better."
NO_SUSPECT = "is suspect: in none does the test show"
GAP = "The verdict reads no group labels. By the known attributes, accuracy is"


@pytest.fixture(scope="module", params=[(name, known) for name in PLANS for known in (True, False)], ids=str)
def planted(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, bool]:
    """The folders of a plan, its name, and whether the attribute is known."""
    name, known = request.param

    def make(out: Path) -> None:
        run_plan(PLANS[name], out, has_attribute=known)

    return make_once(tmp_path_factory, f"planted {name} {known}", make), name, known


def percent(value: float) -> str:
    return f"{100 * value:.1f} %"


def words(page: Page) -> str:
    return " ".join(page.text.split())


def heading(page: Page) -> str:
    """The sentence at the top."""
    text = words(page)
    start = text.index("seed 0 ") + len("seed 0 ")
    start = text.index("seed 0 ", start) + len("seed 0 ") if "seed 0 " in text[start : start + 200] else start
    return text[start : text.index("Worst-group accuracy", start)]


def check_run_page(run: Path, known: bool) -> Page:
    """Compare every statement of the page of a run with the files beside it."""
    page, told = Page(run / "report.html"), json.loads((run / "metrics.json").read_text())
    text, verdict = words(page), told["verdict"]
    before, after = (told["results"][name]["test"] for name in ("erm", "subnetwork"))
    top = heading(page)
    # The sentence at the top has the verdict, and both figures of the file.
    assert ("better network. On" in top or UNCONFIRMED in top) == (verdict == "improved")
    assert (UNPROVEN in top) == ("is a bet, not a proven improvement" in text) == (verdict == "unproven")
    assert ("found no better network" in top) == (verdict in ("nothing-better", "no-evidence"))
    assert ("within the budget" in top) == (verdict == "within-budget")
    assert (UNCONFIRMED in top) == (
        verdict == "improved" and after["worst_group_accuracy"] <= before["worst_group_accuracy"]
    )
    shown = ("worst_group_accuracy", "average_accuracy") if verdict in ("improved", "unproven", "within-budget") else ()
    for key in shown:
        old, new = before[key], after[key]
        word = "rose from" if new > old else "fell from" if new < old else "stayed at"
        expected = f"{word} {percent(old)} to {percent(new)}" if new != old else f"{word} {percent(new)}"
        assert f"{key.split('_accuracy')[0].replace('_', '-')} accuracy {expected}" in top
    if verdict in ("nothing-better", "no-evidence"):
        assert told["results"]["erm"] == told["results"]["subnetwork"]
        assert told["chosen"]["subnetwork"] == "dense"
        assert told["density"] == 1
        assert percent(before["worst_group_accuracy"]) in top
    # Suspects are those of the file, and a page without one says why the verdict may be what it is.
    suspects = [cluster["cluster"] for cluster in told["clusters"] if cluster["is_suspect"]]
    assert page.count("details", **{"class": "card cluster suspect"}) == len(suspects)
    assert (NO_SUSPECT in text) == (not suspects)
    level = 0.05 / max(len(told["evidence"]), 1)
    clear = [one for one in told["evidence"] if one["p_value"] <= level]
    if verdict == "no-evidence":
        assert not suspects
        assert not clear
    assert ("The verdict rests on" in text) == (verdict == "nothing-better" and not suspects)
    names = set(map(int, re.findall(r"(?:Value|Cluster) (\d+) \(mostly .{1,20}\) differs", text)))
    assert names <= set(suspects)
    # Groups: each of the file, and what they say beside a verdict that does not read them.
    for evaluation in (before, after):
        for group in evaluation["groups"]:
            low, high = (100 * limit for limit in group["ci95"])
            assert f"{percent(group['accuracy'])} [{low:.1f} to {high:.1f}]" in text
    by_accuracy = sorted(before["groups"], key=lambda group: group["accuracy"])
    is_apart = by_accuracy[0]["ci95"][1] < by_accuracy[-1]["ci95"][0]
    assert (GAP in text) == (known and verdict not in ("improved", "unproven") and is_apart)
    assert ("No attributes are known" in text) == (not known)
    has_overlap = before["worst_group_ci95"][1] >= after["worst_group_ci95"][0]
    assert ("so the gain may be chance" in text) == (
        verdict == "improved" and has_overlap and after["worst_group_accuracy"] > before["worst_group_accuracy"]
    )
    check_uses(text, told["group_labels_used_for"], known, bool(suspects))
    # A value is called what it is.
    is_cluster = told["evidence"][0]["source"] == "clusters"
    assert bool(re.search(r"\bCluster \d", text)) == is_cluster
    assert bool(re.search(r"\bValue \d", text)) == (not is_cluster)
    # The chosen candidate of the table is that of the file.
    chosen = pd.read_csv(run / "candidates.csv").set_index("name").loc[told["chosen"]["subnetwork"]]
    assert chosen["density"] == pytest.approx(told["density"])
    assert page.count("tr", **{"class": "chosen"}) == 1
    card = (run / "model-card.md").read_text("utf-8")
    assert f"{100 * after['average_accuracy']:.1f}\N{NO-BREAK SPACE}%" in card
    return page


def check_uses(text: str, uses: list[str], known: bool, has_suspect: bool) -> None:
    """Group labels: nothing without attributes; the names of suspects where there are suspects."""
    assert bool(uses) == known
    assert ("names" in uses) == (known and has_suspect)
    assert ("no group labels were used" in text) == (not known)
    assert ("read by" in text and "the names of suspects only" in text) == ("names" in uses)


def test_the_page_of_a_run_says_what_its_files_say(planted: tuple[Path, str, bool]) -> None:
    folder, name, known = planted
    told = json.loads((folder / "run" / "metrics.json").read_text())
    assert told["verdict"] == PLANS[name].verdict
    page = check_run_page(folder / "run", known)
    assert (UNCONFIRMED in heading(page)) == (name == "improved on validation only")


def test_the_page_of_an_audit_says_what_its_file_and_the_run_say(planted: tuple[Path, str, bool]) -> None:
    folder, _, known = planted
    page, told = Page(folder / "audit" / "report.html"), json.loads((folder / "audit" / "audit.json").read_text())
    text = words(page)
    suspects = {cluster["cluster"] for cluster in told["clusters"] if cluster["is_suspect"]}
    expected = {
        "suspected": "A shortcut is suspected",
        "unclear": "Unclear: in",
        "undecided": "Undecided: too few",
        "not-found": "No suspect: in none",
    }
    assert [verdict for verdict, start in expected.items() if start in text] == [told["verdict"]]
    assert bool(suspects) == (told["verdict"] in ("suspected", "unclear"))
    assert page.count("details", **{"class": "card cluster suspect"}) == len(suspects)
    assert percent(told["evaluation"]["average_accuracy"]) in text
    for one in told["evidence"]:
        if one["gap"] is not None:
            assert f"{100 * one['gap']:.1f} points (95 % CI" in text
    clear = [one for one in told["evidence"] if one["p_value"] <= 0.05 / len(told["evidence"])]
    assert ("That is beyond chance, although no single" in text) == (bool(clear) and not suspects)
    assert page.count("section", id="groups") == known
    for group in told["evaluation"]["groups"] if known else ():
        low, high = (100 * limit for limit in group["ci95"])
        assert f"{percent(group['accuracy'])} [{low:.1f} to {high:.1f}]" in text
    check_uses(text, told["group_labels_used_for"], known, bool(suspects))
    # The run on the same network and data has the same values, tests and suspects.
    run = json.loads((folder / "run" / "metrics.json").read_text())
    assert {cluster["cluster"] for cluster in run["clusters"] if cluster["is_suspect"]} == suspects
    assert run["evidence"] == told["evidence"]
    assert not (suspects and run["verdict"] == "no-evidence")


def test_groups_that_speak_against_a_verdict_are_told(planted: tuple[Path, str, bool], tmp_path: Path) -> None:
    folder, name, known = planted
    run = Path(shutil.copytree(folder / "run", tmp_path / "run"))
    results: dict[str, Any] = json.loads((run / "metrics.json").read_text())["results"]
    for splits in results.values():
        groups = splits["test"]["groups"]
        groups[0] |= {"accuracy": 0.5, "ci95": [0.4, 0.6]}
        for group in groups[1:]:
            group |= {"accuracy": 0.9, "ci95": [0.8, 0.95]}
        splits["test"] |= {"worst_group_accuracy": 0.5, "worst_group_ci95": [0.4, 0.6], "average_accuracy": 0.8}
    change_metrics(run, results=results)
    write_report(run)
    page = check_run_page(run, known)
    verdict = PLANS[name].verdict
    assert (GAP in words(page)) == (known and verdict not in ("improved", "unproven"))
    assert (UNCONFIRMED in heading(page)) == (verdict == "improved")
