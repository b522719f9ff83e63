from pathlib import Path

import pytest

from prusc.evaluation import wilson_interval
from prusc.report.clusters import view_attention, view_clusters
from prusc.report.record import read_run
from tests.run_folders import change_metrics, make_run


def cell(label: int, cluster: int, num_samples: int, before: float, after: float = 0.5) -> dict[str, float]:
    return {"label": label, "cluster": cluster, "num_samples": num_samples, "before": before, "after": after}


def test_the_surest_suspect_comes_first(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    cells = [
        cell(0, 0, 50, 1.0),
        cell(1, 0, 1, 0.0),  # one sample that is wrong: suspect, but hardly
        cell(1, 1, 50, 1.0),
        cell(0, 1, 20, 0.1),
        cell(0, 2, 50, 0.6),
        cell(1, 2, 20, 0.5),  # the intervals overlap
    ]
    change_metrics(run, cells=cells)
    views = view_clusters(read_run(run))
    assert [(view.cluster, view.is_suspect) for view in views] == [(1, True), (0, True), (2, False)]
    first = views[0]
    assert (first.main_class, first.main.num_samples, first.others.num_samples) == ("dog", 50, 20)
    assert first.gap == pytest.approx(wilson_interval(50, 50)[0] - wilson_interval(2, 20)[1])
    assert {portrait.label for portrait in first.typical} == {"dog"}
    assert {portrait.label for portrait in first.contradicting} == {"cat"}


def test_sizes_come_from_the_table_of_clusters_and_accuracies_are_those_of_several_cells(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", class_names=("a", "b", "c"))
    change_metrics(run, cells=[cell(2, 0, 30, 0.9), cell(0, 0, 10, 0.2, 0.4), cell(1, 0, 30, 0.6, 0.8)])
    record = read_run(run)
    view = next(view for view in view_clusters(record) if view.cluster == 0)
    assert record.clusters is not None
    members = record.clusters[record.clusters["cluster_assign"] == 0]
    assert view.num_train + view.num_val == len(members)
    assert view.others.before == pytest.approx((10 * 0.2 + 30 * 0.6) / 40)
    assert view.others.after == pytest.approx((10 * 0.4 + 30 * 0.8) / 40)


def test_portraits_say_what_both_networks_say(tmp_path: Path) -> None:
    record = read_run(make_run(tmp_path / "run"))
    assert record.samples is not None
    table = record.samples.table.set_index("sample_id").query("split == 'val'")
    portraits = view_attention(record)
    assert len(portraits) == 8
    for portrait in portraits:
        row = table.loc[portrait.sample_id]
        assert portrait.label == record.class_names[row["label"]]
        assert portrait.before.is_right == (row["prediction/erm"] == row["label"])
        assert portrait.after.name == record.class_names[row["prediction/subnetwork"]]
        assert portrait.attributes == {"place": row["attribute/place"]}
        assert portrait.address.startswith("data:image/webp;base64,")
        assert portrait.heat_before != portrait.heat_after
