"""The map of the samples."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prusc.cli.main import run_command_line
from prusc.report.reading.run import read_run
from prusc.report.sample_map import make_map, place, turn_alike
from tests.report.pages import Page


def test_t_sne_is_another_map(reported_run: Path, run: Path) -> None:
    pca = json.loads(Page(reported_run / "report.html").data)["map"]
    assert run_command_line(["report", str(run), "--map", "tsne"]) == 0
    tsne = json.loads(Page(run / "report.html").data)["map"]
    assert tsne["axes"]["before"] == ["t-SNE 1", "t-SNE 2"]
    assert tsne["points"]["before"] != pca["points"]["before"]
    assert tsne["ids"] == pca["ids"]


def test_the_map_has_the_first_two_components_and_the_values_of_the_table(shared_run: Path) -> None:
    record = read_run(shared_run)
    samples = record.samples
    assert samples is not None
    found = make_map(record, "pca")
    assert found is not None
    assert samples.map_before is not None
    assert samples.map_after is not None
    np.testing.assert_allclose(np.array(found["points"]["before"]).T, samples.map_before[:, :2], atol=5e-4)
    # The chosen network's axes may be mirrored, and nothing else.
    np.testing.assert_allclose(np.abs(found["points"]["after"]).T, np.abs(samples.map_after[:, :2]), atol=5e-4)
    table = samples.table[samples.table["map"] >= 0].sort_values("map")
    colourings = {item["name"]: item for item in found["colourings"]}
    assert list(colourings) == ["class", "cluster", "right or wrong", "prediction", "place"]
    for name, column in (("before", "prediction/erm"), ("after", "prediction/subnetwork")):
        assert colourings["prediction"][name] == table[column].tolist()
        assert colourings["right or wrong"][name] == (table[column] == table["label"]).astype(int).tolist()
    places = [colourings["place"]["values"][code] for code in colourings["place"]["before"]]
    assert places == table["attribute/place"].tolist()
    assert found["axes"]["after"] == [
        "component 1 (40\N{NO-BREAK SPACE}% of the variance)",
        "component 2 (30\N{NO-BREAK SPACE}% of the variance)",
    ]


def test_without_what_it_is_drawn_from_there_is_no_map(shared_run: Path) -> None:
    record = read_run(shared_run)
    assert record.samples is not None
    assert make_map(replace(record, samples=None), "pca") is None
    for lost in ("map_before", "map_after"):
        assert make_map(replace(record, samples=replace(record.samples, **{lost: None})), "pca") is None


def test_an_axis_is_mirrored_where_it_runs_against_the_other_map() -> None:
    other = np.array([[1, 2], [-3, 1]], dtype=np.float32)
    points = other * np.array([-2, 0.5], dtype=np.float32)
    assert turn_alike(points, other).tolist() == (other * [2, 0.5]).tolist()


@pytest.mark.parametrize("num_samples", [1, 3, 4, 40])
def test_any_number_of_samples_has_a_place(num_samples: int) -> None:
    components = np.random.default_rng(0).normal(size=(num_samples, 5)).astype(np.float32)
    found = place(components, "tsne")
    assert found.shape == (num_samples, 2)
    assert np.isfinite(found).all()
    assert (num_samples < 4) == np.array_equal(found, components[:, :2])
