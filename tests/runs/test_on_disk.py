"""A run whose representations lie on disk is the run in memory."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import prusc
import prusc.data.rows
import prusc.stages.heads
from prusc.config import PseudoAttributeConfig
from tests.networks import striped_data
from tests.run_folders import TINY


@pytest.mark.parametrize("source", ["auto", "twins"])
def test_a_run_is_the_same_in_memory_and_on_disk(source: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Several blocks a split, and nothing is small enough to be fitted as a whole.
    monkeypatch.setattr(prusc.data.rows, "BLOCK_VALUES", 1000)
    monkeypatch.setattr(prusc.stages.heads, "HELD_VALUES", 0)
    twins = replace(PseudoAttributeConfig().twins, draws=2, steps=20)
    config = replace(TINY, pseudo_attribute=PseudoAttributeConfig(source=source, twins=twins))  # type: ignore[arg-type]
    for name, limit in (("memory", 2.0), ("disk", 0.0)):
        runtime = replace(config.runtime, representation_gib=limit, scratch=tmp_path / "scratch")
        prusc.debias(data=striped_data(60), config=replace(config, runtime=runtime), out=tmp_path / name)
    for file in ("clusters.csv", "candidates.csv", "samples/samples.csv", "debiasing_set.csv"):
        assert (tmp_path / "memory" / file).read_bytes() == (tmp_path / "disk" / file).read_bytes(), file
    one, other = (json.loads((tmp_path / name / "metrics.json").read_text()) for name in ("memory", "disk"))
    for name in ("results", "chosen", "p_value", "clusters", "evidence"):
        assert one[name] == other[name], name
    assert not list((tmp_path / "scratch").iterdir()), "the files are gone with the run"
