"""The audit of features with a planted shortcut, its files, its head and its page."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import prusc
import prusc.data.rows
import prusc.stages.heads
from prusc.cli.main import run_command_line
from prusc.config import AuditConfig, ClusteringConfig, RuntimeConfig
from prusc.errors import PruscError
from prusc.runs.features import FeaturesResult
from tests.report.pages import Page

CONFIG = prusc.RunConfig(
    audit=AuditConfig(num_permutations=99),
    clustering=ClusteringConfig(num_restarts=1, candidates=(2, 4)),
    runtime=RuntimeConfig(device="cpu"),
)


def write_features(path: Path, num: int = 900) -> Path:
    """Two numbers: a strong one follows the place, a weak one the class. The classifier reads the place alone."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, num)
    place = np.where(rng.random(num) < 0.85, labels, 1 - labels)
    values = np.stack([10.0 * (2 * place - 1), 3.0 * (2 * labels - 1), rng.normal(size=num)], axis=1)
    values += rng.normal(size=values.shape) * 0.5
    split = np.array(["train", "val", "test"])[np.arange(num) % 3]
    np.savez(
        path,
        representations=values,
        labels=np.array(["cow", "camel"])[labels],
        predictions=np.array(["cow", "camel"])[place],
        split=split,
        **{"attribute/place": np.array(["grass", "sand"])[place]},
    )
    return path


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> tuple[FeaturesResult, Path]:
    folder = tmp_path_factory.mktemp("features")
    file = write_features(folder / "f.npz")
    return prusc.audit_features(file, CONFIG, out=folder / "run"), folder / "run"


def test_the_shortcut_is_found_and_a_head_does_without_it(audited: tuple[FeaturesResult, Path]) -> None:
    result, _ = audited
    assert result.audit.verdict == "suspected"
    assert {agreement.name: agreement.purity for agreement in result.agreements}["place"] > 0.99
    before, after = result.evaluations["given"], result.evaluations["head"]
    assert before.worst_group_accuracy == 0
    assert after.worst_group_accuracy > 0.9
    assert after.average_accuracy > before.average_accuracy
    assert result.heads["is_chosen"].sum() == 1
    assert result.is_better


def test_the_written_head_is_applied_by_its_snippet(audited: tuple[FeaturesResult, Path]) -> None:
    result, out = audited
    assert result.head is not None
    stored = load_file(out / "head.safetensors")
    assert torch.equal(stored["weight"], result.head.weight)
    values = np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32)
    np.save(out / "values.npy", values)
    code = "import sys, numpy; from apply_head import predict; print(predict(numpy.load(sys.argv[1])))"
    done = subprocess.run(
        [sys.executable, "-c", code, out / "values.npy"], cwd=out, capture_output=True, text=True, check=True
    )
    names = [result.class_names[index] for index in result.head.logits(torch.from_numpy(values)).argmax(dim=1)]
    assert done.stdout.strip() == str(names)


def test_the_page_shows_it_without_pictures(audited: tuple[FeaturesResult, Path]) -> None:
    _, out = audited
    page = (out / "report.html").read_text()
    for text in ("A shortcut is suspected", "New heads", "apply_head.py", "not images"):
        assert text in page
    shown = " ".join(Page(out / "report.html").text.split())
    told = json.loads((out / "audit.json").read_text())
    assert next(found["id"] for tag, found in Page(out / "report.html").elements if tag == "section") == "groups"
    evaluations = {"val": told["evaluation"], **told["heads"]["evaluations"]}
    assert evaluations.keys() == {"val", "given", "head"}
    for evaluation in evaluations.values():
        assert f"{100 * evaluation['average_accuracy']:.1f} %" in shown
        for group in evaluation["groups"]:
            low, high = (100 * limit for limit in group["ci95"])
            assert f"{100 * group['accuracy']:.1f} % [{low:.1f} to {high:.1f}]" in shown
    assert re.search(r"all samples 300 \S+ % \[", shown)
    about = json.loads((out / "samples" / "about.json").read_text())
    assert about["thumbnails"]["num_files"] == about["pictures"]["num_files"] == 0
    assert "There is no map" not in page
    written = json.loads((out / "audit.json").read_text())
    assert written["model"] == "features"
    assert written["heads"]["table"][0]["name"] == "given"
    assert "continues from this audit" not in page


def test_the_command_repeats_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_features(tmp_path / "f.npz", 240)
    options = ["--features", str(file), "--runtime.device", "cpu", "--audit.num-permutations", "99"]
    assert run_command_line(["audit", *options, "--out", str(tmp_path / "one")]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "chosen head" in printed
    assert "Accuracy on 80 validation samples:" in printed
    assert "Groups by the given attributes" in printed
    config = ["--config", str(tmp_path / "one" / "config.toml"), "--out", str(tmp_path / "two")]
    assert run_command_line(["audit", *config]) == 0
    assert load_file(tmp_path / "one" / "head.safetensors").keys() == {"weight", "bias"}
    one, two = (load_file(tmp_path / name / "head.safetensors") for name in ("one", "two"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    capsys.readouterr()
    assert run_command_line(["run", *options, "--out", str(tmp_path / "three")]) == 2
    assert "audit them: prusc audit --features" in capsys.readouterr().err
    assert not (tmp_path / "three").exists()


def test_a_good_classifier_keeps_its_predictions_and_held_out_heads_are_cross_fitted(tmp_path: Path) -> None:
    labels = np.arange(240) % 2
    values = np.random.default_rng(0).normal(size=(240, 4)) + 4.0 * labels[:, None]
    features = prusc.Features.from_arrays(values, labels, predictions=labels)
    config = replace(CONFIG, finetune=replace(CONFIG.finetune, head_folds=2, head_l2=(0.1,)))
    with pytest.warns(UserWarning, match="some were chosen from all"):
        result = prusc.audit_features(features, config, out=tmp_path / "run")
    assert result.head is None
    assert not (tmp_path / "run" / "head.safetensors").exists()
    assert result.evaluations.keys() == {"given"}


def test_features_are_needed() -> None:
    with pytest.raises(PruscError, match="no features were given"):
        prusc.audit_features()
    with pytest.raises(PruscError, match="does not exist"):
        prusc.audit_features("nowhere.npz")


def test_an_audit_is_the_same_in_memory_and_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Ten blocks a split, and nothing is small enough to be fitted as a whole.
    monkeypatch.setattr(prusc.data.rows, "BLOCK_VALUES", 90)
    monkeypatch.setattr(prusc.stages.heads, "HELD_VALUES", 0)
    with np.load(write_features(tmp_path / "f.npz")) as file:
        for name in file.files:
            (tmp_path / "f" / name).parent.mkdir(parents=True, exist_ok=True)
            np.save(
                tmp_path / "f" / f"{name}.npy",
                file[name].astype(np.float32) if name == "representations" else file[name],
            )
    for name, limit in (("memory", 2.0), ("disk", 0.0)):
        config = replace(CONFIG, runtime=replace(CONFIG.runtime, representation_gib=limit))
        prusc.audit_features(tmp_path / "f", config, out=tmp_path / name)
    for name in ("clusters.csv", "look_at.csv", "heads.csv", "samples/samples.csv", "samples/label_issues.csv"):
        texts = [(tmp_path / run / name).read_text() for run in ("memory", "disk")]
        assert texts[0] == texts[1], name
        assert len(texts[0].splitlines()) > 1 or name.endswith("issues.csv")
    one, other = (load_file(tmp_path / run / "head.safetensors") for run in ("memory", "disk"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    one, other = (json.loads((tmp_path / run / "audit.json").read_text()) for run in ("memory", "disk"))
    for name in ("clusters", "verdict", "evidence", "agreements", "silhouettes", "heads"):
        assert one[name] == other[name]
