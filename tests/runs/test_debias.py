"""The whole job on a small real data set: run folder, resume, blindness to group attributes."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file

from prusc import DebiasingResult, RunConfig, debias
from prusc.config import (
    ClusteringConfig,
    DebiasingSetConfig,
    ERMConfig,
    FinetuneConfig,
    MaskConfig,
    PseudoAttributeConfig,
    RuntimeConfig,
    SelectionConfig,
    TwinsConfig,
    read_config,
)
from prusc.data import Data, load_fashion_stickers
from prusc.engine.runtime import stage_generator
from prusc.models.build import SmallCNN
from prusc.runs.artifacts import evidence_from_dict
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import build_debiasing_set
from prusc.stages.heads import fit_head
from prusc.stages.representations import extract_representations
from tests.networks import generator, striped_data
from tests.run_folders import TINY

SMALL = RunConfig(
    erm=ERMConfig(epochs=1),
    clustering=ClusteringConfig(candidates=(2, 4, 6)),
    masks=MaskConfig(steps=6, snapshots=2, batch_size=32),
    finetune=FinetuneConfig(steps=3, batch_size=32, head_l2=(0.1,), head_folds=2),
    runtime=RuntimeConfig(device="cpu"),
)


def small_data() -> Data:
    return load_fashion_stickers(num_train_per_class=60, num_val_per_class=50, num_test_per_class=20)


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """The weights of a network that comes from elsewhere."""
    path = tmp_path / "trained.safetensors"
    save_file(SmallCNN(4).state_dict(), path)
    return path


def test_shuffled_group_attributes_change_nothing_but_the_evaluation(tmp_path: Path) -> None:
    data = small_data()
    shuffled = {
        name: replace(split, attributes=split.attributes[torch.randperm(len(split))])  # type: ignore[index]
        for name, split in data.splits.items()
    }
    first = debias(data=data, config=SMALL, out=tmp_path / "run")
    second = debias(data=replace(data, **shuffled), config=SMALL)
    assert first.chosen == second.chosen
    for key, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key])
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["format"] == 1
    assert set(metrics["results"]) == {"erm", "last_layer", "finetune_all", "subnetwork"}
    assert metrics["p_value"] == first.p_value
    assert (first.p_value <= SMALL.selection.significance) == (first.verdict == "improved")
    assert (first.chosen["subnetwork"] == "dense") == (first.verdict != "improved")
    assert tuple(evidence_from_dict(one) for one in metrics["evidence"]) == first.evidence
    assert {one.source for one in first.evidence} == {"linear", "clusters"}
    assert read_config(tmp_path / "run" / "config.toml") == SMALL
    assert not (tmp_path / "run" / "stages").exists()


def shuffle_attributes(data: Data) -> Data:
    """The same data with the group attributes of each split in another order."""
    source = generator(9)
    shuffled = {}
    for name, split in data.splits.items():
        assert split.attributes is not None
        attributes = split.attributes[torch.randperm(len(split), generator=source)]
        assert not torch.equal(attributes, split.attributes)
        shuffled[name] = replace(split, attributes=attributes)
    return replace(data, **shuffled)


@pytest.mark.parametrize(
    "changes",
    [
        {"debiasing_set": {"split": "val"}},
        {"pseudo_attribute": {"source": "twins", "twins": TwinsConfig(draws=2, steps=20)}},
        {"pseudo_attribute": {"source": "biased"}},
        {"debiasing_set": {"cell_exponent": 0.5, "min_cell_size": 3, "flip": True, "min_crop_scale": 0.5}},
        {"finetune": {"head_folds": 0}},
        {"finetune": {"head_l2": (), "learning_rates": (1e-2,), "weight_decay": 0.0}},
        {"clustering": {"checkpoint": 0, "num_clusters": 2}},
        {"clustering": {"checkpoint": None, "num_clusters": None, "candidates": (3, 4)}},
        {"masks": {"negatives": "cluster", "sparsity_term": "sum-of-logits", "sparsity": 1e-4, "initial_logit": 0.5}},
        {"masks": {"beta": 0.0, "head": True, "exclude": ("encoder.0.*",), "reestimate_batch_norm": False}},
        {"selection": {"rule": "class-accuracy"}},
        {"evaluate_candidates": True, "controls": False},
    ],
    ids=str,
)
def test_shuffled_group_attributes_change_no_choice_with_any_option(changes: dict[str, Any]) -> None:
    sections = {k: replace(getattr(TINY, k), **v) if isinstance(v, dict) else v for k, v in changes.items()}
    data, config = striped_data(60), replace(TINY, **sections)
    assert config != TINY
    first, second = (debias(data=own, config=config) for own in (data, shuffle_attributes(data)))
    assert (first.chosen, first.verdict, first.judged_by) == (second.chosen, second.verdict, second.judged_by)
    assert (first.cells, first.clusters, first.history) == (second.cells, second.clusters, second.history)
    assert [replace(one, test=None, val=None) for one in first.candidates] == [
        replace(one, test=None, val=None) for one in second.candidates
    ]
    assert torch.equal(first.clustering.cluster_ids, second.clustering.cluster_ids)
    for key, value in first.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[key])
    for key, kept in first.mask.tensors.items():
        assert torch.equal(kept, second.mask.tensors[key])
    # The attributes are read where networks are evaluated, and there alone.
    assert first.evaluations != second.evaluations


_SCRIPT = """
import sys
from dataclasses import replace
from pathlib import Path
from tests.runs.test_debias import SMALL, small_data
from prusc import debias
out, *trained = sys.argv[1:]
debias(data=small_data(), config=replace(SMALL, trained=Path(trained[0])) if trained else SMALL, out=out)
"""


_WHERE: dict[str, Any] = {"cwd": Path(__file__).parents[2], "env": {**os.environ, "OMP_NUM_THREADS": "1"}}
_TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--no-python")


def kill_when(ready: Callable[[], bool], *arguments: str) -> None:
    """Run the script above in a process of its own, and kill that once it has come so far."""
    process = subprocess.Popen([sys.executable, "-c", _SCRIPT, *arguments], **_WHERE)
    while not ready() and process.poll() is None:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it ended by itself"


# tests/runs/test_resume.py ends a run after every stage; these are real processes.
@pytest.mark.slow
@pytest.mark.parametrize("stage_file", ["config.toml", "erm.safetensors", "stages/clustering.safetensors"])
def test_a_killed_run_is_resumed_with_the_same_result(tmp_path: Path, stage_file: str) -> None:
    torch.set_num_threads(1)
    whole = debias(data=small_data(), config=SMALL)
    out = tmp_path / "run"
    kill_when((out / stage_file).exists, str(out))
    assert not (out / "metrics.json").exists(), "the run was over before it could be killed"
    resumed = debias(data=small_data(), config=SMALL, out=out)
    check_same(resumed, whole)


def check_same(resumed: DebiasingResult, whole: DebiasingResult) -> None:
    assert resumed.chosen == whole.chosen
    assert torch.equal(resumed.clustering.cluster_ids, whole.clustering.cluster_ids)
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key])


def test_a_run_killed_while_an_early_network_trains_and_after_its_masks_is_resumed(
    trained: Path, tmp_path: Path
) -> None:
    torch.set_num_threads(1)
    config = replace(SMALL, trained=trained)
    whole = debias(data=small_data(), config=config)
    out, log = tmp_path / "run", tmp_path / "run" / "log.txt"
    kill_when(lambda: log.exists() and "early network" in log.read_text(), str(out), str(trained))
    assert "early network" in log.read_text()
    assert not (out / "checkpoints").exists(), "the early network was trained before the run could be killed"
    kill_when((out / "stages/masks.safetensors").exists, str(out), str(trained))
    assert not (out / "metrics.json").exists(), "the run was over before it could be killed"
    resumed = debias(data=small_data(), config=config, out=out)
    check_same(resumed, whole)


def test_two_processes_resume_a_killed_run_and_train_one_early_network(trained: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    out, log = tmp_path / "run", tmp_path / "log"
    command = [*_TORCHRUN, sys.executable, "-c", _SCRIPT, str(out), str(trained)]
    with log.open("w") as file:
        process = subprocess.Popen(command, **_WHERE, stdout=file, stderr=file, start_new_session=True)
        while not (out / "erm.safetensors").exists() and process.poll() is None:
            time.sleep(0.002)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        # The workers are in sessions of their own: the run is over once nobody writes any more.
        kill_workers(out)
    assert (out / "erm.safetensors").exists(), log.read_text()
    assert not (out / "checkpoints").exists(), "the early network was trained before the run could be killed"
    finished = subprocess.run(command, **_WHERE, timeout=120, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    assert (out / "metrics.json").exists()
    debias(data=small_data(), config=replace(SMALL, trained=trained), out=tmp_path / "one")
    early = [load_file(folder / "checkpoints" / "epoch-001.safetensors") for folder in (tmp_path / "one", out)]
    for key, value in early[0].items():
        torch.testing.assert_close(early[1][key], value, rtol=0, atol=1e-3)


def kill_workers(out: Path) -> None:
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            mine = str(out) in entry.read_text()
        except OSError:
            continue
        if mine:
            os.kill(int(entry.parent.name), signal.SIGKILL)


def test_a_given_network_is_not_changed() -> None:
    model = SmallCNN(4)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    result = debias(model, small_data(), SMALL)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert type(result.model) is SmallCNN


def test_a_trained_network_is_clustered_by_one_of_its_kind_in_its_first_epoch(tmp_path: Path) -> None:
    config = replace(SMALL, erm=ERMConfig(epochs=2), controls=False)
    first = debias(data=small_data(), config=config, out=tmp_path / "first")
    config = replace(config, trained=tmp_path / "first" / "erm.safetensors")
    second = debias(data=small_data(), config=config, out=tmp_path / "second")
    # The network that training began with is known by its name, and so is what its first epoch was.
    assert torch.equal(first.clustering.cluster_ids, second.clustering.cluster_ids)
    assert first.chosen == second.chosen
    log = (tmp_path / "second" / "log.txt").read_text()
    assert "from the representations of your architecture after 1 epoch of training" in log
    assert [file.name for file in (tmp_path / "second" / "checkpoints").iterdir()] == ["epoch-001.safetensors"]


def test_a_network_given_in_python_too_unless_its_own_representations_are_asked_for(tmp_path: Path) -> None:
    trained = debias(data=small_data(), config=SMALL).erm
    debias(trained, small_data(), SMALL, out=tmp_path / "run")
    assert "your architecture after 1 epoch of training" in (tmp_path / "run" / "log.txt").read_text()
    config = replace(
        SMALL,
        clustering=replace(SMALL.clustering, checkpoint=None),
        debiasing_set=DebiasingSetConfig(split="val"),
    )
    result = debias(trained, small_data(), config, out=tmp_path / "own")
    halves = torch.randperm(200, generator=stage_generator(config.seed, "halves of validation"))
    check_drawn(tmp_path / "own", "val", halves[:100].sort().values)
    assert sum(cell.num_samples for cell in result.cells) == 100
    assert "from the representations of the ERM network" in (tmp_path / "own" / "log.txt").read_text()
    assert not (tmp_path / "own" / "checkpoints").exists()


def check_drawn(run: Path, split: str, members: torch.Tensor) -> None:
    """All of these samples are drawn, of a class those of each cell as often."""
    clusters = pd.read_csv(run / "clusters.csv").query("split == @split").set_index("index").loc[members.tolist()]
    expected = clusters.groupby(["label", "cluster_assign"]).size()
    cells = pd.read_csv(run / "debiasing_set.csv").set_index(["label", "cluster"])
    assert (cells.num_drawn == cells.num_samples).all()
    drawn = cells[cells.num_drawn > 0]
    assert drawn.num_drawn.to_dict() == expected.to_dict()
    told = f"{len(drawn)} cells (class x pseudo-attribute) of {len(members)} samples of the {split} split"
    assert told in (run / "log.txt").read_text()
    per_class = drawn.groupby("label").share.transform("size")
    assert drawn.share.tolist() == pytest.approx((1 / drawn.index.levshape[0] / per_class).tolist())


def test_clusters_of_the_untrained_network_judge_and_a_run_that_has_them_is_resumed(tmp_path: Path) -> None:
    config = replace(
        SMALL,
        pseudo_attribute=PseudoAttributeConfig(source="clusters"),
        clustering=ClusteringConfig(num_clusters=2, checkpoint=0),
        debiasing_set=DebiasingSetConfig(flip=True, min_crop_scale=0.5),
        finetune=replace(SMALL.finetune, head_folds=0),
    )
    out = tmp_path / "run"
    whole = debias(data=small_data(), config=config, out=out)
    assert (whole.clustering.structure, whole.judged_by) == ("untrained", "cells")
    log = (out / "log.txt").read_text()
    assert "2 values clusters, from the representations of the untrained network" in log
    assert "judging by cells: " in log
    assert "heads: fitted on" not in log
    check_drawn(out, "train", torch.arange(240))
    # Without a folder nothing is read back.
    again = debias(data=small_data(), config=config)
    assert [(c.name, c.score) for c in again.candidates] == [(c.name, c.score) for c in whole.candidates]
    # The same with the last stage done anew, from what the folder kept.
    metrics = out / "metrics.json"
    assert not json.loads(metrics.read_text())["trains_on_validation"]
    metrics.unlink()
    resumed = debias(data=small_data(), config=config, out=out)
    assert metrics.exists()
    assert [(c.name, c.score) for c in resumed.candidates] == [(c.name, c.score) for c in whole.candidates]


def test_heads_of_validation_samples_are_judged_without_them(tmp_path: Path) -> None:
    data, out = small_data(), tmp_path / "run"
    config = replace(SMALL, finetune=replace(SMALL.finetune, head_l2=(1e-4,), head_folds=4), evaluate_candidates=True)
    result = debias(data=data, config=config, out=out)
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["trains_on_validation"]
    assert "heads are fitted on validation samples" in metrics["selection"]
    assert "heads: fitted on 200 validation samples" in (out / "log.txt").read_text()
    # The head that is kept knows the validation samples; what is said of it does not come from them.
    found = {c.name: c for c in result.candidates}["dense/head(l2=0.0001)"]
    assert result.chosen["last_layer"] == found.name
    said = metrics["results"]["last_layer"]["val"]["average_accuracy"]
    assert said == pytest.approx(found.val_average_accuracy)
    seen = extract_representations(result.erm, data.val)
    cells = pd.read_csv(out / "clusters.csv").query("split == 'val'").cluster_assign
    drawn = build_debiasing_set(Cells(data.val.labels, torch.tensor(cells.to_numpy())), config.debiasing_set)
    weight, bias = fit_head(seen.values, data.val.labels, drawn.weights, num_classes=4, l2=1e-4)
    known = ((seen.values @ weight.T + bias).argmax(dim=1) == data.val.labels).double().mean().item()
    assert said < known - 0.05
    test = extract_representations(result.erm, data.test)
    right = (test.values @ weight.T + bias).argmax(dim=1) == data.test.labels
    assert found.test is not None
    assert found.test.average_accuracy == pytest.approx(right.double().mean().item(), abs=0.01)
    # A run that is resumed divides the samples in the same way.
    (out / "metrics.json").unlink()
    resumed = debias(data=data, config=config, out=out)
    assert [(c.name, c.score) for c in resumed.candidates] == [(c.name, c.score) for c in result.candidates]


def test_the_classes_judge_if_the_rule_says_so(tmp_path: Path) -> None:
    config, out = replace(SMALL, selection=SelectionConfig("class-accuracy"), controls=False), tmp_path / "run"
    result = debias(data=small_data(), config=config, out=out)
    assert result.judged_by == "classes"
    assert "judging by classes: 4 pseudo-groups of 200 validation samples" in (out / "log.txt").read_text()
    assert "the pseudo-groups are the classes" in json.loads((out / "metrics.json").read_text())["selection"]
