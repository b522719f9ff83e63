"""The record of single samples that runs of a second leave."""

import json
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from prusc import audit, debias
from prusc.data import Data, Split
from prusc.errors import DataError
from prusc.report import write_report
from tests.networks import striped_data
from tests.run_folders import TINY


def test_the_table_gives_the_figures_of_the_evaluation(shared_striped_run: Path) -> None:
    path = shared_striped_run
    metrics = json.loads((path / "metrics.json").read_text())
    table = pd.read_csv(path / "samples" / "samples.csv")
    assert len(table) == 180
    for family, splits in metrics["results"].items():
        for name, evaluation in splits.items():
            own = table[table["split"] == name]
            right = own[f"prediction/{family}"] == own["label"]
            assert right.mean() == pytest.approx(evaluation["average_accuracy"])
            for group in evaluation["groups"]:
                label = metrics["data"]["classes"].index(group["label"])
                inside = (own["label"] == label) & (own["attribute/corner"] == group["attributes"]["corner"])
                assert int(inside.sum()) == group["num_samples"]
    clusters = pd.read_csv(path / "clusters.csv")
    val = clusters[clusters["split"] == "val"]
    assert table[table["split"] == "val"]["cluster"].tolist() == val["cluster_assign"].tolist()
    assert val["similarity"].between(-1, 1.0001).all()


def test_who_is_shown_has_a_place_a_picture_and_a_map_of_attention(shared_striped_run: Path) -> None:
    path = shared_striped_run
    table = pd.read_csv(path / "samples" / "samples.csv")
    about = json.loads((path / "samples" / "about.json").read_text())
    for column in ("map", "picture", "attention"):
        positions = table[table[column] >= 0][column]
        assert sorted(positions) == list(range(len(positions)))
    assert (table["map"] >= 0).sum() == 90
    assert (table[table["split"] == "test"]["map"] == -1).all()
    assert ((table["attention"] >= 0) <= (table["picture"] >= 0)).all()
    maps = load_file(path / "samples" / "map.safetensors")
    assert {name: len(found) for name, found in maps.items()} == {"before": 90, "after": 90}
    attention = load_file(path / "samples" / "attention.safetensors")
    assert all(found.shape == (24, 2, 2) for found in attention.values())
    assert (about["thumbnails"]["width"], about["attention"]["feature_map"]) == (8, "encoder.8")
    # Of every cluster the samples of other classes are shown: they are few, and what one looks for.
    val = table[table["split"] == "val"]
    for _, members in val.groupby("cluster"):
        main = members["label"].mode()[0]
        assert (members[members["label"] != main]["picture"] >= 0).sum() >= min(12, (members["label"] != main).sum())


def test_the_report_follows(shared_striped_run: Path, tmp_path: Path) -> None:
    path = Path(shutil.copytree(shared_striped_run, tmp_path / "run"))
    assert write_report(path) == ()
    page = (path / "report.html").read_text("utf-8")
    assert page.count("<img ") >= 24 * 3
    metrics = json.loads((path / "metrics.json").read_text())
    assert metrics["given_in_python"] == ["data"]
    assert metrics["versions"]["torch"] == version("torch")
    assert metrics["peak_memory_mib"]["erm"] > 50


def normalised(split: Split) -> Split:
    return replace(split, inputs=split.inputs.float() / 255)  # type: ignore[operator,union-attr]


def test_images_that_are_normalised_already_are_shown(tmp_path: Path) -> None:
    data = striped_data(60)
    numbers: Data = replace(data, **{name: normalised(split) for name, split in data.splits.items()})
    debias(data=numbers, config=TINY, out=tmp_path / "run")
    about = json.loads((tmp_path / "run" / "samples" / "about.json").read_text())
    assert about["thumbnails"]["num_files"] == about["pictures"]["num_files"] == 1
    assert about["attention"]["why_not"] is None
    assert write_report(tmp_path / "run") == ()
    page = (tmp_path / "run" / "report.html").read_text("utf-8")
    assert "the inputs of this data set are not images" not in page
    assert "There is no map" not in page


def test_attention_inside_a_region_is_measured_before_and_after(tmp_path: Path) -> None:
    data = striped_data(60)
    assert data.val.attributes is not None
    corners = data.val.attributes[:, 0]

    def find_regions(index: int) -> dict[str, torch.Tensor]:
        if index % 20 == 1:
            raise DataError("a mask that cannot be read")
        if index % 20 == 2:
            return {"corner": torch.ones(3, 3, dtype=torch.bool)}  # not of the image's size
        inside = torch.zeros(8, 8, dtype=torch.bool)
        inside[:2, :2] = True
        return {"corner": inside, **({"left": torch.arange(8).lt(4).expand(8, 8)} if corners[index] else {})}

    with_regions = replace(data, val=replace(data.val, regions=find_regions))
    plain = debias(data=data, config=TINY, out=tmp_path / "plain")
    result = debias(data=with_regions, config=TINY, out=tmp_path / "run")
    about = json.loads((tmp_path / "run/samples/about.json").read_text())["attention"]
    table = pd.read_csv(tmp_path / "run/samples/regions.csv")
    assert about["num_unreadable"] == 6
    assert set(table["region"]) == {"corner", "left"}
    assert len(table[table["region"] == "corner"]) == 54
    assert table["before"].dropna().between(0, 1).all()
    for region in about["regions"]:
        own = table[table["region"] == region["region"]].dropna()
        assert region["num_samples"] == len(own)
        assert region["before"]["mean"] == pytest.approx(own["before"].mean(), abs=1e-5)
        assert region["change"]["mean"] == pytest.approx((own["after"] - own["before"]).mean(), abs=1e-5)
    # Where things are decides nothing.
    assert result.cells == plain.cells
    assert result.chosen == plain.chosen
    assert json.loads((tmp_path / "plain/samples/about.json").read_text())["attention"]["regions"] == []
    assert "Share of the attention inside a region" in (tmp_path / "run/report.html").read_text("utf-8")


def test_a_run_in_python_leaves_a_report_and_a_model_card(
    shared_striped_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shared_striped_run
    assert (path / "report.html").is_file()
    assert (path / "model-card.md").is_file()

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("prusc.report.write.render_run", fail)
    with pytest.warns(UserWarning, match="no report: no space .the run itself is complete; prusc report"):
        result = debias(data=striped_data(60), config=TINY, out=tmp_path / "run")
    assert result.chosen["erm"]
    assert (tmp_path / "run/metrics.json").is_file()
    assert not (tmp_path / "run/report.html").exists()


def test_clusters_are_tested_as_in_an_audit(tmp_path: Path) -> None:
    data = striped_data(90)
    audited = audit(data=data, config=TINY, out=tmp_path / "run")
    assert (tmp_path / "run/report.html").read_text("utf-8").count("prusc audit") > 1
    samples = json.loads((tmp_path / "run/samples/about.json").read_text())
    assert list(samples["explained_variance"]) == ["before"]
    result = debias(data=data, config=TINY, out=tmp_path / "run")
    # The silhouette alone is the audit's own.
    assert result.clusters == tuple(replace(cluster, silhouette=None) for cluster in audited.audit.clusters)
    assert write_report(tmp_path / "run") == ()
    assert "How it was made" in (tmp_path / "run/report.html").read_text("utf-8")
