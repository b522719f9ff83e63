"""The report of a run: every part, and what it says of its own limits."""

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest

from prusc.cli.main import run_command_line
from prusc.report import write_report
from prusc.report.reading.run import read_run
from prusc.report.run_page import group_rows, headline
from prusc.report.text import percent
from tests.report.pages import Capture, Page, report_of
from tests.run_folders import change_metrics, make_run


def test_every_part_is_there_and_the_figures_are_those_of_the_run(run: Path, capsys: Capture) -> None:
    assert run_command_line(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"Report: {run / 'report.html'}\n"
    page = Page(run / "report.html")
    sections = ["groups", "clusters", "map", "attention", "errors", "mask", "next", "made"]
    assert [found["id"] for tag, found in page.elements if tag == "section"] == sections
    results = json.loads((run / "metrics.json").read_text())["results"]
    for family in results:
        for group in results[family]["test"]["groups"]:
            assert f"{100 * group['accuracy']:.1f} %" in page.text
    # Pictures, attention, and what the suspect looks like: its mean, that of the rest, and the map of the difference.
    assert page.count("img") == 30 + 3 * 8 + 3
    assert set(json.loads(page.data)["charts"]) == {"chart-groups", "chart-layers", "chart-losses", "chart-densities"}
    assert len(json.loads(page.data)["map"]["ids"]) == 120
    assert (run / "report.html").stat().st_size < 12e6


def test_the_share_of_attention_inside_a_region_is_a_number_with_n_and_interval(reported_run: Path) -> None:
    page = Page(reported_run / "report.html")
    about = json.loads((reported_run / "samples" / "about.json").read_text())
    (region,) = about["attention"]["regions"]
    rows = re.findall(r"object 40 .{100}", page.text)
    assert len(rows) == 1
    for name in ("before", "after", "change"):
        low, high = region[name]["ci95"]
        assert f"[{100 * low:.1f} to {100 * high:.1f}]".replace("-", "−") in rows[0]
    assert f"{100 * region['area']:.1f} %" in rows[0]
    assert f"{100 * region['before']['mean']:.1f} %" in rows[0]
    assert "The regions of 2 samples could not be read" in page.text


def test_nothing_is_drawn_that_has_nothing_to_say(run: Path) -> None:
    change_metrics(run, density=1.0, density_per_layer={f"layer{number}.weight": 1.0 for number in range(54)})
    history = pd.read_csv(run / "history.csv")
    history.head(1).to_csv(run / "history.csv", index=False)
    page = report_of(run)
    assert set(json.loads(page.data)["charts"]) == {"chart-groups"}
    assert "The chosen network has no mask: it keeps all weights." in page.text
    assert "layer53.weight" not in page.text
    assert "No mask was learned yet" not in page.text


def test_one_group_and_no_attributes(tmp_path: Path) -> None:
    page = report_of(make_run(tmp_path / "run", attribute=None))
    assert "No attributes are known" in page.text
    assert [item["name"] for item in json.loads(page.data)["map"]["colourings"]][-1] == "prediction"
    lonely = make_run(tmp_path / "lonely", attribute=None)
    metrics = json.loads((lonely / "metrics.json").read_text())
    for splits in metrics["results"].values():
        splits["test"]["groups"][1] |= {"num_samples": 0, "accuracy": None, "ci95": None}
    (lonely / "metrics.json").write_text(json.dumps(metrics))
    assert "1 of 2 groups have no test samples" in report_of(lonely).text


def test_what_was_trained_on_validation_says_so(reported_run: Path, run: Path) -> None:
    told = "Validation samples were also used for training"
    assert told not in Page(reported_run / "report.html").text
    assert told not in (reported_run / "model-card.md").read_text("utf-8")
    change_metrics(run, trains_on_validation=True)
    assert told in report_of(run).text
    assert told in (run / "model-card.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("verdict", "why"),
    [
        (
            "no-evidence",
            "without group labels, nothing in the validation split shows that the ERM network relies on a shortcut",
        ),
        (
            "nothing-better",
            "the ERM network fails on a part of the validation split, but no candidate is better beyond chance",
        ),
        ("of-tomorrow", "what it means"),
    ],
)
def test_a_verdict_that_is_none_of_improved(run: Path, verdict: str, why: str) -> None:
    change_metrics(run, verdict=verdict)
    worst = json.loads((run / "metrics.json").read_text())["results"]["erm"]["test"]["worst_group_accuracy"]
    expected = f"prusc found no better network: {why}. The result is the ERM network, with worst-group accuracy"
    assert headline(read_run(run)) == f"{expected} {100 * worst:.1f}\N{NO-BREAK SPACE}%."


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0.25, 0.5, "rose from 25.0 % to 50.0 %"),
        (0.5, 0.25, "fell from 50.0 % to 25.0 %"),
        (0.5, 0.5, "stayed at 50.0 %"),
    ],
)
def test_the_headline_says_which_way_both_accuracies_went(
    run: Path, before: float, after: float, expected: str
) -> None:
    results = json.loads((run / "metrics.json").read_text())["results"]
    for family, worst in (("erm", before), ("subnetwork", after)):
        results[family]["test"] |= {"average_accuracy": worst, "worst_group_accuracy": worst}
        for group in results[family]["test"]["groups"]:
            group["accuracy"] = worst
    change_metrics(run, results=results)
    shown = headline(read_run(run)).replace("\N{NO-BREAK SPACE}", " ")
    lead = (
        "prusc found a better network"
        if after > before
        else (
            "prusc chose a network that is better on held-out predictions for the validation split, which the test "
            "split does not confirm"
        )
    )
    assert shown == (f"{lead}. On the test split, worst-group accuracy {expected} and average accuracy {expected}.")


def test_a_run_that_is_not_finished_shows_what_there_is(run: Path, tmp_path: Path) -> None:
    (run / "metrics.json").unlink()
    (run / "stages").mkdir()
    (run / "stages" / "seconds.json").write_text('{"erm": 12.5}')
    page = report_of(run)
    assert "This run is not finished" in page.text
    assert "metrics.json is missing" in page.text
    assert "12.5 s" in page.text
    assert not (run / "model-card.md").exists()
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(run / "config.toml", begun)
    assert "The run folder has no clusters" in report_of(begun).text


def test_a_cluster_that_is_named_by_a_rare_class_is_not_mostly_of_it(run: Path) -> None:
    clusters = json.loads((run / "metrics.json").read_text())["clusters"]
    common = {cluster["cluster"]: cluster["main_label"] for cluster in clusters}
    # As clusters of the untrained network are: the class of which cluster 0 holds the most is not its largest.
    named = [{**c, "main_label": 1 - common[0] if c["cluster"] == 0 else common[c["cluster"]]} for c in clusters]
    change_metrics(run, clusters=named, cluster_structure="untrained")
    write_report(run)
    page = Page(run / "report.html")
    assert re.search(r"Cluster 0: more \w+ than elsewhere", page.text)
    assert "Cluster 1: mostly" in page.text
    assert "3 clusters, clusters of the untrained network." in page.text


def test_rows_begin_with_the_worst_group_of_the_erm_network_and_end_with_empty_groups(run: Path) -> None:
    results = json.loads((run / "metrics.json").read_text())["results"]
    for family in results:
        results[family]["test"]["groups"][0] |= {"num_samples": 0, "accuracy": None, "ci95": None}
    change_metrics(run, results=results)
    record = read_run(run)
    test = {network: splits["test"] for network, splits in record.evaluations.items()}
    rows = group_rows(test)
    accuracies = [row.before for row in rows]
    assert accuracies.pop() is None
    assert accuracies == sorted(group["accuracy"] for group in results["erm"]["test"]["groups"][1:])
    for row in rows:
        assert [figures.num_samples for figures in row.figures] == [row.num_samples] * 4
    assert group_rows({}) == []


def test_a_run_that_masks_channels_says_what_is_left_of_the_operations(
    shared_channel_run: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(shared_channel_run, tmp_path / "run"))
    page = report_of(folder)
    share = json.loads((folder / "metrics.json").read_text())["flops"]
    assert share <= 0.5
    assert f"it needs {100 * share:.1f} % of the operations of the ERM network" in page.text
    assert "chart-flops" in json.loads(page.data)["charts"]
    assert "operations" in page.text
    change_metrics(folder, verdict="within-budget")
    assert headline(read_run(folder)).startswith(
        f"No network within the budget is better than the ERM network. With {percent(share)} of its operations, "
    )
