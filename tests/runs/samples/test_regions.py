"""Attention inside regions: which samples count, and what is written of them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from prusc.runs.folder import RunFolder
from prusc.runs.samples import regions
from prusc.runs.samples.attention import share_inside
from prusc.runs.samples.attention_maps import compute_attention
from prusc.runs.samples.exhibit import Exhibit
from prusc.runs.samples.regions import measure_regions
from tests.networks import striped_data
from tests.runs.samples.exhibits import make_exhibit, without_after


def find_regions(index: int) -> Mapping[str, Tensor]:
    """Everybody has a corner but those whose index ends in 1 to 4, each of which is wrong in its own way."""
    corner = torch.zeros(8, 8, dtype=torch.bool)
    corner[:4, :4] = True
    if index % 10 == 1:
        raise OSError("cannot be read")
    if index % 10 == 2:
        return {"corner": corner[:4]}
    if index % 10 == 3:
        return {"corner": corner.float()}
    return {} if index % 10 == 4 else {"corner": corner}


def with_regions() -> Exhibit:
    data = striped_data(60)
    exhibit, _ = make_exhibit(replace(data, val=replace(data.val, regions=find_regions)))
    return exhibit


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    (tmp_path / "samples").mkdir()
    return RunFolder(tmp_path)


def test_samples_whose_regions_cannot_be_used_are_counted_and_left_out(folder: RunFolder) -> None:
    exhibit = with_regions()
    found = measure_regions(folder, exhibit, "encoder.8")
    table = pd.read_csv(folder.path / "samples/regions.csv")
    assert found["num_unreadable"] == 18
    # Those that end in 4 can be read, and have no corner.
    assert sorted(table["index"]) == [index for index in range(60) if index % 10 not in (1, 2, 3, 4)]
    assert set(table["area"]) == {0.25}
    indices = table["index"].tolist()
    inside = find_regions(0)["corner"].expand(len(indices), 8, 8)
    for name, maps in compute_attention(exhibit, "encoder.8", indices).items():
        torch.testing.assert_close(
            torch.tensor(table[name].tolist()), share_inside(maps, inside), equal_nan=True, atol=1e-5, rtol=0
        )
    [region] = found["regions"]
    used = table.dropna()
    assert (region["region"], region["num_samples"], region["area"]) == ("corner", len(used), 0.25)
    assert region["before"]["mean"] == pytest.approx(used["before"].mean(), abs=1e-5)


def test_an_audit_has_no_change(folder: RunFolder) -> None:
    found = measure_regions(folder, without_after(with_regions()), "encoder.8")
    [region] = found["regions"]
    assert (region["after"], region["change"]) == (None, None)
    assert "after" not in pd.read_csv(folder.path / "samples/regions.csv")


def test_no_more_samples_are_measured_than_are_needed(folder: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(regions, "MAX_REGION_SAMPLES", 20)
    found = measure_regions(folder, with_regions(), "encoder.8")
    assert len(pd.read_csv(folder.path / "samples/regions.csv")) <= 20 - found["num_unreadable"]


def test_data_without_regions_write_nothing(folder: RunFolder) -> None:
    exhibit, _ = make_exhibit()
    assert measure_regions(folder, exhibit, "encoder.8") == {"regions": [], "num_unreadable": 0}
    assert not list((folder.path / "samples").iterdir())
