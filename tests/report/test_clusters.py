"""Clusters of a report: their order, sides and pictures."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from prusc.report.clusters import view_attention, view_clusters
from prusc.report.reading.run import read_run
from prusc.report.run_page import notes
from prusc.stages.evaluation import wilson_interval
from tests.run_folders import change_metrics, make_run


def cell(label: int, cluster: int, num_samples: int, before: float, after: float = 0.5) -> dict[str, float]:
    return {"label": label, "cluster": cluster, "num_samples": num_samples, "before": before, "after": after}


def test_suspects_are_those_of_the_audit_and_come_first(run: Path) -> None:
    tested = {cluster["cluster"]: cluster for cluster in json.loads((run / "metrics.json").read_text())["clusters"]}
    cells = [cell(0, 0, 50, 1.0), cell(1, 0, 10, 0.0), cell(1, 1, 50, 1.0), cell(0, 1, 20, 0.1), cell(0, 2, 50, 0.6)]
    labels = {0: 0, 1: 1, 2: 0}
    order = [{**tested[k], "main_label": labels[k], "is_suspect": k == 1} for k in (1, 2, 0)]
    change_metrics(run, cells=cells, clusters=order)
    views = view_clusters(read_run(run))
    # That the intervals of cluster 0 do not meet makes no suspect of it: one test decides, and it is the audit's.
    assert [(view.cluster, view.is_suspect) for view in views] == [(1, True), (2, False), (0, False)]
    first = views[0]
    assert (first.main_class, first.main.num_samples, first.others.num_samples) == ("dog", 50, 20)
    assert first.others.before_ci95 == pytest.approx(wilson_interval(2, 20))
    assert {portrait.label for portrait in first.typical} == {"dog"}
    assert {portrait.label for portrait in first.contradicting} == {"cat"}


def test_a_run_of_an_older_prusc_has_no_suspects_and_says_so(run: Path) -> None:
    change_metrics(run, clusters=None)
    record = read_run(run)
    views = view_clusters(record)
    assert [view.cluster for view in views] == [0, 1, 2]
    assert not any(view.is_suspect for view in views)
    assert any("did not test the clusters" in note for note in notes(record, views))


def test_pictures_are_the_nearest_to_the_centre_in_that_order(shared_run: Path) -> None:
    record = read_run(shared_run)
    assert record.samples is not None
    similarity = record.samples.table.set_index("sample_id")["similarity"]
    record = replace(record, samples=replace(record.samples, per_side=3))
    for view in view_clusters(record):
        for side in (view.typical, view.contradicting):
            found = [similarity[portrait.sample_id].max() for portrait in side]
            assert len(found) <= 3
            assert found == sorted(found, reverse=True)


def test_an_audit_has_one_network(shared_audit: Path) -> None:
    record = read_run(shared_audit)
    views = view_clusters(record)
    assert [view.is_suspect for view in views] == [True, False, False]
    table = pd.read_csv(shared_audit / "samples/samples.csv")
    for view in views:
        assert view.tested is not None
        inside = table[table["cluster"] == view.cluster]
        for side, own in ((view.main, True), (view.others, False)):
            members = inside[(inside["label"] == view.tested.main_label) == own]
            assert side.num_samples == len(members)
            assert side.before == pytest.approx((members["prediction/erm"] == members["label"]).mean())
            assert side.after is None
        assert all(portrait.after is None for portrait in (*view.typical, *view.contradicting))
    assert all(portrait.heat_before and not portrait.heat_after for portrait in view_attention(record))


def test_sizes_come_from_the_table_of_clusters_and_accuracies_are_those_of_several_cells(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", class_names=("a", "b", "c"))
    cells = [cell(2, 0, 30, 0.9), cell(0, 0, 10, 0.2, 0.4), cell(1, 0, 30, 0.6, 0.8)]
    change_metrics(run, cells=cells, clusters=None)
    record = read_run(run)
    view = next(view for view in view_clusters(record) if view.cluster == 0)
    assert record.clusters is not None
    members = record.clusters[record.clusters["cluster_assign"] == 0]
    assert view.num_train + view.num_val == len(members)
    assert view.others.before == pytest.approx((10 * 0.2 + 30 * 0.6) / 40)
    assert view.others.after == pytest.approx((10 * 0.4 + 30 * 0.8) / 40)


def test_portraits_say_what_both_networks_say(shared_run: Path) -> None:
    record = read_run(shared_run)
    assert record.samples is not None
    table = record.samples.table.set_index("sample_id").query("split == 'val'")
    portraits = view_attention(record)
    assert len(portraits) == 8
    for portrait in portraits:
        row = table.loc[portrait.sample_id]
        assert portrait.label == record.class_names[row["label"]]
        assert portrait.before.is_right == (row["prediction/erm"] == row["label"])
        assert portrait.after is not None
        assert portrait.after.name == record.class_names[row["prediction/subnetwork"]]
        assert portrait.attributes == {"place": row["attribute/place"]}
        assert portrait.address.startswith("data:image/webp;base64,")
        assert portrait.heat_before != portrait.heat_after
