"""Stages that other settings touch, and the folder of an audit that a run with other settings goes on with."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from prusc import RunConfig, audit, debias
from prusc.config import AuditConfig, ClusteringConfig, MaskConfig, PseudoAttributeConfig, config_to_dict
from prusc.errors import RunFolderError
from prusc.runs.reuse import belongs_to, is_timed_by, touched_stages
from tests.networks import striped_data
from tests.run_folders import TINY


@pytest.mark.parametrize(
    ("setting", "touched"),
    [
        ("audit.significance", set()),
        ("selection.rule", set()),
        ("runtime.num_workers", set()),
        ("runtime.precision", {"erm"}),
        ("seed", {"erm"}),
        ("data_options.image_size", {"erm"}),
        ("a_setting_of_the_future", {"erm"}),
        ("clustering.checkpoint", {"erm"}),
        ("clustering.num_clusters", {"clustering", "masks", "dense", "masked", "remedy"}),
        ("pseudo_attribute.source", {"clustering", "masks", "dense", "masked", "remedy"}),
        ("debiasing_set.split", {"masks", "dense", "masked", "remedy"}),
        ("masks.batch_size", {"masks", "dense", "masked", "remedy"}),
        ("masks.steps", {"masks", "masked", "remedy"}),
        ("finetune.steps", {"dense", "masked", "remedy"}),
        ("method_options", {"remedy"}),
    ],
)
def test_a_setting_touches_the_stages_that_depend_on_it(setting: str, touched: set[str]) -> None:
    assert touched_stages([setting]) == touched


def test_every_setting_of_a_run_has_a_rule() -> None:
    def names(settings: dict[str, object], where: str = "") -> list[str]:
        return [
            name
            for key, value in settings.items()
            for name in (names(value, f"{where}{key}.") if isinstance(value, dict) else [f"{where}{key}"])
        ]

    found = names(config_to_dict(RunConfig()))
    assert len(found) > 50
    assert touched_stages(found) == {"erm", "clustering", "masks", "dense", "masked", "remedy"}


def test_files_and_clocks_belong_to_one_stage() -> None:
    masks = frozenset({"masks"})
    assert belongs_to("stages/masks.safetensors", masks)
    assert belongs_to("history.csv", masks)
    assert not belongs_to("stages/mask-4.safetensors", masks)
    assert belongs_to("stages/mask-4-weights.json", frozenset({"masked"}))
    assert belongs_to("stages/jtt-0.safetensors", frozenset({"remedy"}))
    everything = frozenset({"clustering", "masks", "dense", "masked", "remedy"})
    for file in (
        "erm.safetensors",
        "checkpoints/epoch-001.safetensors",
        "config.toml",
        "log.txt",
        "stages/seconds.json",
    ):
        assert not belongs_to(file, everything)
    assert is_timed_by("candidates@4", frozenset({"masked"}))
    assert not is_timed_by("erm", everything)


def test_a_run_after_an_audit_with_other_masks_uses_its_network_and_clusters(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prusc.runs.audit.write_samples", lambda *_: None)
    monkeypatch.setattr("prusc.runs.debias.write_samples", lambda *_: None)
    data, out, fresh = striped_data(90), tmp_path / "run", tmp_path / "fresh"
    audit(data=data, config=TINY, out=out)
    kept = {name: (out / name).stat().st_ino for name in ("erm.safetensors", "stages/clustering.safetensors")}
    other = replace(TINY, masks=MaskConfig(steps=3, snapshots=1, batch_size=16), audit=AuditConfig(num_permutations=9))
    inodes: dict[str, int] = {}

    def look(*_: object) -> None:
        inodes.update({name: (out / name).stat().st_ino for name in kept})

    monkeypatch.setattr("prusc.runs.debias.write_samples", look)
    found = debias(data=data, config=other, out=out)
    assert inodes == kept
    log = (out / "log.txt").read_text()
    assert "masks.steps was 2, is 3; stages that they do not touch are used again" in log
    monkeypatch.setattr("prusc.runs.debias.write_samples", lambda *_: None)
    expected = debias(data=data, config=other, out=fresh)
    assert found.chosen == expected.chosen
    first, second = (load_file(path / "model.safetensors") for path in (out, fresh))
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    assert json.loads((out / "audit.json").read_text())["settings"]["num_permutations"] == 999
    # The finished run refuses further settings, whatever they touch.
    with pytest.raises(RunFolderError, match="holds a finished run"):
        debias(data=data, config=TINY, out=out)


def test_another_number_of_clusters_keeps_the_network_and_nothing_stale(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prusc.runs.audit.write_samples", lambda *_: None)
    data, out = striped_data(90), tmp_path / "run"
    audit(data=data, config=TINY, out=out)
    network = (out / "erm.safetensors").stat().st_ino
    (out / "report.html").write_text("stale")
    (out / "samples").mkdir(exist_ok=True)
    (out / "samples" / "samples.csv").write_text("stale")
    other = replace(
        TINY,
        clustering=ClusteringConfig(num_clusters=2),
        pseudo_attribute=PseudoAttributeConfig(source="clusters"),
    )
    found = audit(data=data, config=other, out=out)
    assert (out / "erm.safetensors").stat().st_ino == network
    assert found.clustering.num_clusters == 2
    assert "stale" not in "".join(path.read_text() for path in out.rglob("*.csv"))
    assert json.loads((out / "audit.json").read_text())["clusters"][0]["cluster"] in (0, 1)
    with pytest.raises(RunFolderError, match=r"clustering\.checkpoint was 'early', is 0"):
        audit(data=data, config=replace(other, clustering=ClusteringConfig(num_clusters=2, checkpoint=0)), out=out)
