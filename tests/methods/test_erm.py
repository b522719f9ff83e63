from dataclasses import replace

import pytest
import torch
from torch import nn

from prusc.engine.training import Schedule
from prusc.methods import MethodInputs
from prusc.methods.erm import CLASS_BALANCED, ERM, ERM_LONGER, ERMLongerSettings, ERMSettings
from tests.methods.inputs import make_inputs
from tests.networks import striped_data


def test_erm_hands_back_a_copy_of_its_network() -> None:
    inputs = make_inputs("erm")
    trained = ERM.train(inputs, ERMSettings())
    assert trained.network is not inputs.trained
    assert (trained.density, dict(trained.facts)) == (1.0, {})
    for name, value in inputs.trained.state_dict().items():
        own = trained.network.state_dict()[name]
        assert torch.equal(own, value), name
        assert own.data_ptr() != value.data_ptr(), name


def test_longer_erm_trains_for_so_many_times_its_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, asked = make_inputs("erm-longer"), list[tuple[int, bool]]()

    def leave(_self: MethodInputs, model: nn.Module, schedule: Schedule, _name: str) -> nn.Module:
        asked.append((schedule.num_steps, torch.equal(model.head.weight, inputs.untrained.head.weight)))
        return model

    monkeypatch.setattr(MethodInputs, "fit", leave)
    for share in (3.0, 0.5):
        ERM_LONGER.train(inputs, ERMLongerSettings(share))
    of_erm = inputs.num_steps(1.0)
    assert asked == [(3 * of_erm, True), (of_erm // 2, True)]


def test_every_class_is_drawn_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    data = striped_data()
    # 20 samples of class 0, 20 of class 1, 5 of class 2.
    kept = torch.cat([(data.train.labels == label).nonzero()[: 5 if label == 2 else 20, 0] for label in range(3)])
    inputs = make_inputs("class-balanced", replace(data, train=data.train.subset(kept)))
    asked: list[tuple[int, torch.Tensor]] = []
    draws = MethodInputs.draws

    def spy(self: MethodInputs, name: str, num_steps: int, weights: torch.Tensor) -> object:
        asked.append((num_steps, weights))
        return draws(self, name, num_steps, weights)

    monkeypatch.setattr(MethodInputs, "draws", spy)
    trained = CLASS_BALANCED.train(inputs, ERMSettings())
    [(num_steps, weights)] = asked
    assert num_steps == inputs.config.erm.epochs * inputs.steps_per_epoch
    assert weights.tolist() == pytest.approx([0.05] * 40 + [0.2] * 5)
    assert not torch.equal(trained.network.head.weight, inputs.untrained.head.weight)
