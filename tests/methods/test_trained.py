"""How a remedy is run: settings, resume, and who chooses."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from prusc.config import ERMConfig, PseudoAttributeConfig, SelectionConfig
from prusc.data import Data, load_fashion_stickers
from prusc.methods import MethodInputs, Trained, TrainedMethod, run_method
from tests.methods.registering import register_method
from tests.methods.test_all import SMALL


@pytest.fixture(scope="module")
def data() -> Data:
    return load_fashion_stickers(num_train_per_class=30, num_val_per_class=40, num_test_per_class=12)


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
    config, calls = replace(SMALL, method="constant", max_settings=3), list[int]()
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
    config = replace(SMALL, method="constant", max_settings=4, selection=rule, evaluate_candidates=True)
    config = replace(config, may_keep_erm=False)
    result = run_method(data=few, config=config, out=tmp_path / "run")
    assert result.judged_by == "classes"
    # Each predicts one class of four, so that all are as good, and the first of them is taken.
    assert result.chosen == "defaults"
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["results"]["constant"]["val"]["average_accuracy"] == pytest.approx(2 / 46)
    assert metrics["group_labels_used_for"] == ["evaluation"]


def test_candidates_are_evaluated_by_true_groups_only_if_asked(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Data
) -> None:
    register(monkeypatch, [])
    tables = []
    for asked in (False, True):
        config = replace(SMALL, method="constant", max_settings=4, evaluate_candidates=asked, may_keep_erm=False)
        run_method(data=data, config=config, out=tmp_path / str(asked))
        tables.append(pd.read_csv(tmp_path / str(asked) / "candidates.csv"))
    assert not [column for column in tables[0] if column.startswith(("test_", "val_worst"))]
    # Each candidate predicts one class of four, in which it is right.
    assert tables[1].test_average_accuracy.tolist() == [0.25] * 4
    assert tables[1].test_worst_group_accuracy.tolist() == [0.0] * 4
    assert tables[1].val_worst_group_accuracy.tolist() == [0.0] * 4
    for column in ("test_aligned_accuracy", "test_conflicting_accuracy"):
        assert tables[1][column].between(0.1, 0.4).all()


@pytest.mark.parametrize("may_keep_erm", [True, False])
def test_the_erm_network_is_handed_back_where_nothing_is_better_and_that_is_allowed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Data, may_keep_erm: bool
) -> None:
    register(monkeypatch, [])
    rule = SelectionConfig(rule="class-accuracy")
    config = replace(SMALL, erm=ERMConfig(epochs=4, batch_size=32), selection=rule, max_settings=3)
    config = replace(config, method="constant", may_keep_erm=may_keep_erm)
    result = run_method(data=data, config=config, out=tmp_path / "run")
    # A network that predicts one class of four is worse than ERM for the classes.
    assert result.evaluations["erm"]["val"].average_accuracy > 0.3
    assert (result.chosen == "erm") == may_keep_erm
    same = [torch.equal(v, result.erm.state_dict()[name]) for name, v in result.model.state_dict().items()]
    assert all(same) == may_keep_erm
    assert result.model is not result.erm
    kept = load_file(tmp_path / "run" / "model.safetensors")
    assert all(torch.equal(kept[name], value) for name, value in result.model.state_dict().items())
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["num_settings"] == 3
    assert (metrics["settings"] is None) == may_keep_erm
    # Whoever asks for one setting gets it.
    asked = run_method(data=data, config=replace(config, method_options=("label=1",)))
    assert asked.chosen == "label=1"


def test_logits_of_fits_without_the_sample_judge_in_place_of_the_networks(
    monkeypatch: pytest.MonkeyPatch, data: Data
) -> None:
    def train(inputs: MethodInputs, settings: ConstantSettings) -> Trained:
        right = torch.eye(4)[inputs.val.labels]
        return Trained(inputs.erm_network(), val_logits=right if settings.label == 1 else -right)

    settings = tuple(ConstantSettings(label) for label in range(3))
    method = TrainedMethod("held-out", "Held out", "nobody", "none", settings, starts_from_erm=True, train=train)
    register_method(monkeypatch, method)
    result = run_method(data=data, config=replace(SMALL, method="held-out", max_settings=3))
    assert result.chosen == "label=1"
    assert result.after["val"].average_accuracy == 1.0
    assert result.after["test"].average_accuracy < 1.0


def test_a_run_that_goes_on_judges_by_the_same_pseudo_attribute(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data: Data
) -> None:
    config = replace(
        SMALL,
        method="constant",
        max_settings=2,
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
