"""How a remedy is run: settings, resume, and who chooses."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from prusc.config import PseudoAttributeConfig, SelectionConfig
from prusc.data import Data, load_fashion_stickers
from prusc.methods import MethodInputs, Trained, TrainedMethod, run_method
from tests.methods.registering import register_method
from tests.methods.test_all import SMALL


@pytest.fixture(scope="module")
def data() -> Data:
    return load_fashion_stickers(num_train_per_class=60, num_val_per_class=40, num_test_per_class=20)


@dataclass(frozen=True)
class ConstantSettings:
    """Which class to predict."""

    label: int = 0


def register(monkeypatch: pytest.MonkeyPatch, calls: list[int], *, stop_at: int | None = None) -> None:
    """Register a remedy that predicts one class, and is interrupted when it comes to one of them."""

    def train(inputs: MethodInputs, settings: ConstantSettings) -> Trained:
        if settings.label == stop_at:
            raise KeyboardInterrupt
        calls.append(settings.label)
        network = inputs.erm_network()
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.zero_()
            network.get_submodule(inputs.head_name).bias[settings.label] = 1
        return Trained(network)

    settings = tuple(ConstantSettings(label) for label in range(4))
    method = TrainedMethod("constant", "Constant", "nobody", "none", settings, starts_from_erm=True, train=train)
    register_method(monkeypatch, method)


def test_a_run_that_was_stopped_goes_on_with_the_setting_it_was_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Data
) -> None:
    config, calls = replace(SMALL, method="constant", tuning_budget=3), list[int]()
    register(monkeypatch, calls, stop_at=2)
    with pytest.raises(KeyboardInterrupt):
        run_method(data=data, config=config, out=tmp_path / "run")
    register(monkeypatch, calls)
    result = run_method(data=data, config=config, out=tmp_path / "run")
    assert calls == [0, 1, 2]
    whole = run_method(data=data, config=config)
    assert result.chosen == whole.chosen
    assert result.after["test"] == whole.after["test"]


def test_the_rule_chooses_the_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Data) -> None:
    register(monkeypatch, [])
    # A validation split in which class 2 is everything but a few.
    kept = torch.cat([(data.val.labels == label).nonzero()[: 40 if label == 2 else 2, 0] for label in range(4)])
    few = replace(data, val=data.val.subset(kept.sort().values))
    rule = SelectionConfig(rule="class-accuracy")
    config = replace(SMALL, method="constant", tuning_budget=4, selection=rule, evaluate_candidates=True)
    result = run_method(data=few, config=config, out=tmp_path / "run")
    assert result.judged_by == "classes"
    # Each predicts one class of four, so that all are as good, and the first of them is taken.
    assert result.chosen == "defaults"
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["results"]["constant"]["val"]["average_accuracy"] == pytest.approx(2 / 46)
    assert metrics["group_labels_used_for"] == ["evaluation"]


def test_a_run_that_goes_on_judges_by_the_same_pseudo_attribute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Data
) -> None:
    config = replace(
        SMALL,
        method="constant",
        tuning_budget=2,
        pseudo_attribute=PseudoAttributeConfig(source="clusters"),
        clustering=replace(SMALL.clustering, num_clusters=2, checkpoint=0),
    )
    register(monkeypatch, [])
    whole = run_method(data=data, config=config, out=tmp_path / "whole")
    # The logits are kept, from which the judge scores what was trained before the run went on.
    register(monkeypatch, [], stop_at=1)
    with pytest.raises(KeyboardInterrupt):
        run_method(data=data, config=config, out=tmp_path / "run")
    kept = load_file(tmp_path / "run" / "stages" / "constant-0.safetensors")
    assert (kept["of/val_logits"].argmax(dim=1) == 0).all()
    register(monkeypatch, [])
    resumed = run_method(data=data, config=config, out=tmp_path / "run")
    assert (resumed.chosen, resumed.judged_by) == (whole.chosen, whole.judged_by)
    assert json.loads((tmp_path / "run" / "metrics.json").read_text())["cluster_structure"] == "untrained"
