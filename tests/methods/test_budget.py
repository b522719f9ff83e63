"""Costs in ERM trainings: what a budget lets through, and that the remedies declare what they train."""

from dataclasses import dataclass, replace
from itertools import islice
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from prusc.config import ERMConfig
from prusc.masks import whole_mask
from prusc.methods import METHODS, MethodInputs, TrainedMethod
from prusc.methods.budget import Cost, ERMLength, fit_budget, measure_erm
from prusc.stages.cells import Cells
from tests.methods.inputs import make_inputs

ERM = ERMLength(epochs=20, num_steps=80, batch_size=16, num_samples=60)
OTHERS = [method for method in METHODS.values() if isinstance(method, TrainedMethod)]


@dataclass(frozen=True)
class Priced:
    """A setting with a price."""

    own: float
    shared: str = ""


def price(settings: Priced, _erm: ERMLength) -> Cost:
    return Cost(settings.own, {settings.shared: 0.5} if settings.shared else {})


@pytest.mark.parametrize(
    ("prices", "budget", "limit", "spent", "expected"),
    [
        ((1, 1, 1), 2, 9, 0, (0, 1)),
        ((1, 1, 1), 2, 9, 1, (0,)),
        ((1, 3, 1), 2, 9, 0, (0, 2)),
        ((9, 1, 0), 2, 9, 0, (0,)),
        ((0, 0, 0), 0.1, 2, 0, (0, 1)),
        ((0.1,) * 11, 1, 99, 0, tuple(range(10))),
    ],
)
def test_the_first_is_always_tried_and_later_ones_if_they_fit(
    prices: tuple[float, ...], budget: float, limit: int, spent: float, expected: tuple[int, ...]
) -> None:
    settings = [Priced(own) for own in prices]
    found = fit_budget(settings, price, ERM, budget=budget, limit=limit, spent=spent)
    assert found == tuple(settings[index] for index in expected)


def test_what_settings_share_is_paid_once() -> None:
    settings = [Priced(0.5, "a"), Priced(0.5, "a"), Priced(0.5, "b"), Priced(0.5)]
    assert fit_budget(settings, price, ERM, budget=2.0, limit=9) == (settings[0], settings[1], settings[3])


def test_the_length_of_erm_counts_its_steps() -> None:
    erm = measure_erm(ERMConfig(epochs=3, batch_size=16), 60)
    assert (erm.num_steps, erm.epochs, erm.num_samples) == (12, 3, 60)
    assert erm.share_of(6) == 0.5
    assert erm.share_of(6, batch_size=32) == 1.0


@pytest.fixture(scope="module")
def shared_inputs() -> MethodInputs:
    """With all group labels, and clusters that no class has for itself."""
    inputs = make_inputs("group-dro", erm=ERMConfig(epochs=20, batch_size=16))
    clusters = torch.arange(len(inputs.train)) % 4
    return replace(inputs, cells=Cells(inputs.train.labels, clusters, num_classes=3, num_values=4))


@pytest.mark.parametrize("method", OTHERS, ids=lambda method: method.name)
def test_a_remedy_trains_as_much_as_it_declares(
    method: TrainedMethod, shared_inputs: MethodInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_config = replace(shared_inputs.config, method=method.name)
    inputs = replace(shared_inputs, config=own_config, made={})
    assert measure_erm(inputs.config.erm, len(inputs.train)) == ERM
    trained = 0.0

    def count(model: nn.Module, _feed: object, schedule: Any, **_: object) -> None:
        nonlocal trained
        size = max(len(batch) for batch in islice(schedule.batches, 3))
        # LfF trains two networks in one module.
        num_networks = sum(hasattr(model, name) for name in ("debiased", "biased")) or 1
        trained += ERM.share_of(schedule.num_steps, batch_size=size) * num_networks

    def count_masks(model: nn.Module, _feed: object, _samples: object, config: Any, **_: object) -> object:
        nonlocal trained
        trained += ERM.share_of(config.steps, batch_size=config.batch_size)
        return SimpleNamespace(final=whole_mask(model, include=("*",), exclude=()))

    monkeypatch.setattr("prusc.methods.inputs.train_weights", count)
    monkeypatch.setattr("prusc.methods.masking.learn_masks", count_masks)
    for settings in method.settings[:4]:
        method.train(inputs, _quick(settings))
    declared, shared = 0.0, dict[str, float]()
    for settings in method.settings[:4]:
        cost = method.cost(settings, ERM)
        declared, shared = declared + cost.own, {**shared, **cost.shared}
    # Four fifths of the batches of an epoch are three of four here.
    assert trained == pytest.approx(declared + sum(shared.values()), abs=0.051)


def _quick(settings: Any) -> Any:
    """The same trainings, with fewer fits of heads."""
    fewer = {"num_retrains": 1, "inverse_strengths": (1.0,), "num_members": 2, "epochs": 1, "num_clusters": 2}
    fewer |= {"twin_steps": 20, "max_clusters": 2, "overclustering": 1}
    return replace(settings, **{name: value for name, value in fewer.items() if hasattr(settings, name)})


def test_a_decay_shrinks_a_weight_without_gradient_by_what_it_says() -> None:
    inputs = make_inputs("jtt")

    class Still(nn.Module):
        """A weight that has no say in the loss."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(2))

    network = Still()

    def loss(model: nn.Module, *_: object) -> torch.Tensor:
        return (model.weight * 0).sum()

    for total in (0.5, 2.0):
        network.weight.data.fill_(1.0)
        schedule = inputs.epochs("batches", inputs.config.erm.epochs)
        inputs.fit(network, schedule, "test", loss=loss, total_decay=total)
        # Eight steps are few, so the product of the steps is a little less than the exponential of their sum.
        assert network.weight[0].item() == pytest.approx(torch.tensor(-total).exp().item(), abs=0.06)
    network.weight.data.fill_(1.0)
    inputs.fit(network, inputs.epochs("batches", 2), "test", loss=loss)
    assert network.weight[0].item() > 0.999
