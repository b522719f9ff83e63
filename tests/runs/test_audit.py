"""The audit of a small network on real images: its files, its blindness, and the run that goes on with it."""

import json
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

from prusc import audit, debias
from prusc.cli.main import run_command_line
from prusc.config import AuditConfig
from prusc.data import Data, load_fashion_stickers
from prusc.errors import RunFolderError
from prusc.runs.artifacts import evaluation_from_dict, evidence_from_dict
from tests.runs.test_debias import SMALL

CONFIG = replace(SMALL, audit=AuditConfig(num_permutations=99))


def small_data(num_train_per_class: int = 500) -> Data:
    return load_fashion_stickers(num_train_per_class=num_train_per_class, num_val_per_class=100, num_test_per_class=20)


def test_an_audit_says_what_it_saw_and_the_run_goes_on_with_it(tmp_path: Path) -> None:
    data, out = small_data(), tmp_path / "run"
    result = audit(data=data, config=CONFIG, out=out)
    # After one epoch the network sees little but the colour of the sticker.
    assert result.audit.verdict == "suspected"
    by_name = {agreement.name: agreement for agreement in result.agreements}
    assert by_name["colour"].purity > by_name["class"].purity
    written = json.loads((out / "audit.json").read_text())
    assert written["verdict"] == "suspected"
    assert written["source"] == result.evidence[0].source
    assert tuple(evidence_from_dict(one) for one in written["evidence"]) == result.evidence
    assert {one.source for one in result.evidence} == {"linear", "clusters"}
    assert min(one.p_value for one in result.evidence) < 1e-6
    assert evaluation_from_dict(written["evaluation"]) == result.evaluation
    assert (written["weak_classes"], written["smallest_loss"]) == (
        list(result.weak_classes),
        result.audit.smallest_loss,
    )
    assert sum(sum(cluster["class_counts"].values()) for cluster in written["clusters"]) == len(data.val)
    assert [cluster["cluster"] for cluster in written["clusters"]] == [c.cluster for c in result.audit.clusters]
    images = pd.read_csv(out / "look_at.csv")
    assert len(images) == sum(cluster.num_others for cluster in result.audit.clusters)
    assert (images.label != images.main_class).all()
    assert set(images.sample_id) <= set(data.val.sample_ids)
    assert images["rank"].is_monotonic_increasing
    assert not (out / "metrics.json").exists()
    seconds = written["seconds"]["erm"]
    debias(data=data, config=CONFIG, out=out)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["seconds"]["erm"] == seconds  # Not trained again.
    with pytest.raises(RunFolderError, match="holds a finished run"):
        audit(data=data, config=CONFIG, out=out)


def test_group_attributes_decide_nothing() -> None:
    data = small_data(num_train_per_class=100)
    val = data.val
    assert val.attributes is not None
    shuffled = replace(val, attributes=val.attributes[torch.randperm(len(val), generator=torch.Generator())])
    first, second = (audit(data=replace(data, val=split), config=CONFIG) for split in (val, shuffled))
    assert first.audit.clusters == second.audit.clusters
    assert first.images.equals(second.images)
    assert first.agreements[0] == second.agreements[0]
    assert first.agreements[1] != second.agreements[1]
    assert (first.evidence, first.weak_classes) == (second.evidence, second.weak_classes)
    without = {name: replace(split, attributes=None) for name, split in data.splits.items()}
    third = audit(data=replace(data, **without, attribute_names=(), attribute_values=()), config=CONFIG)
    assert [agreement.name for agreement in third.agreements] == ["class"]
    assert third.audit.clusters == first.audit.clusters


def test_the_command_prints_suspects_and_refuses_bad_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prusc.runs.session.load_run_data", lambda config, progress: small_data())
    out = tmp_path / "run"
    command = ["audit", "--out", str(out), "--erm.epochs", "1", "--audit.num-permutations", "99"]
    assert run_command_line(command) == 0
    printed = capsys.readouterr().out
    assert "suspect" in printed
    assert "Agreement of the values" in printed
    assert str(out / "look_at.csv") in printed.replace("\n", "")
    assert f"Report: {out / 'report.html'}" in printed
    assert (out / "report.html").is_file()
    assert run_command_line([*command[:3], "--force", "--audit.significance", "2"]) == 2
    assert "audit.significance must be in (0, 1)" in capsys.readouterr().err
    assert run_command_line(["audti"]) == 2
    assert "did you mean audit" in capsys.readouterr().err
