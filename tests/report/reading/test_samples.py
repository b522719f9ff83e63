"""The record of single samples, as it was written and as far as it is there."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

from prusc.report.reading.optional import OptionalFiles
from prusc.report.reading.samples import read_samples


def test_the_record_is_what_the_files_hold(shared_run: Path) -> None:
    files = OptionalFiles(shared_run)
    record = read_samples(files)
    assert record is not None
    assert files.missing == []
    folder = shared_run / "samples"
    # A right prediction has no kind of error.
    written = pd.read_csv(folder / "samples.csv").fillna({"kind": ""})
    pd.testing.assert_frame_equal(record.table, written, check_dtype=False)
    maps, attention = load_file(folder / "map.safetensors"), load_file(folder / "attention.safetensors")
    assert np.array_equal(record.map_before, maps["before"])
    assert np.array_equal(record.map_after, maps["after"])
    assert all(np.array_equal(record.attention[name], attention[name]) for name in attention)
    about = json.loads((folder / "about.json").read_text())
    [region] = record.regions
    [region_written] = about["attention"]["regions"]
    assert (region.region, region.num_samples, region.area) == ("object", 40, region_written["area"])
    assert region.after is not None
    assert region.after.ci95 == tuple(region_written["after"]["ci95"])
    assert (record.num_unreadable, record.per_side) == (2, 12)
    assert (record.attribute_names, record.has_after) == (["place"], True)


def test_an_audit_has_one_map_and_no_change_of_attention(shared_audit: Path) -> None:
    record = read_samples(OptionalFiles(shared_audit))
    assert record is not None
    assert record.map_before is not None
    assert record.map_after is None
    assert record.attention.keys() == {"before"}
    assert [(region.after, region.change) for region in record.regions] == [(None, None)]
    assert not record.has_after


def test_names_that_look_like_numbers_or_gaps_stay_names(run: Path) -> None:
    path = run / "samples/samples.csv"
    table = pd.read_csv(path, dtype=str)
    table.loc[[0, 1], "sample_id"] = ["NA", "007"]
    table.to_csv(path, index=False)
    record = read_samples(OptionalFiles(run))
    assert record is not None
    assert record.table["sample_id"].tolist()[:2] == ["NA", "007"]


def test_a_map_of_other_samples_is_not_shown(run: Path) -> None:
    path = run / "samples/samples.csv"
    table = pd.read_csv(path)
    table.loc[table["map"] == table["map"].max(), "map"] = -1
    table.to_csv(path, index=False)
    record = read_samples(OptionalFiles(run))
    assert record is not None
    assert record.map_before is None
    assert record.map_after is None


def test_an_older_record_has_its_similarities_from_the_order_of_its_pictures(run: Path) -> None:
    path = run / "samples/samples.csv"
    table = pd.read_csv(path).drop(columns="similarity")
    table.to_csv(path, index=False)
    record = read_samples(OptionalFiles(run))
    assert record is not None
    assert record.table["similarity"].tolist() == (-table["picture"]).tolist()


def test_inputs_that_are_no_images_say_so(run: Path) -> None:
    path = run / "samples/about.json"
    about = json.loads(path.read_text())
    about["pictures"] = {"num_files": 0, "why_not": "no images"}
    about["attention"] = {"why_not": "no convolution"}
    path.write_text(json.dumps(about))
    (run / "samples/attention.safetensors").unlink()
    files = OptionalFiles(run)
    record = read_samples(files)
    assert record is not None
    assert (record.pictures.sheets, record.pictures.why_not) == ((), "no images")
    assert (record.why_no_attention, dict(record.attention), record.regions) == ("no convolution", {}, ())
    # What the run could not make is not missing.
    assert files.missing == []
