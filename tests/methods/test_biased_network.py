import pytest
import torch
from torch import Tensor, nn

from prusc.engine.training import Schedule
from prusc.methods import MethodInputs
from prusc.methods.biased_network import find_conflicting, upweight
from tests.methods.inputs import make_inputs
from tests.reference.generalized_cross_entropy import generalized_cross_entropy


def test_what_the_biased_network_gets_wrong_is_conflicting_and_found_once(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs("dcwp")
    asked: list[tuple[int, object]] = []

    def leave(_self: MethodInputs, model: nn.Module, schedule: Schedule, _name: str, *, loss: object) -> nn.Module:
        asked.append((schedule.num_steps, loss))
        return model

    monkeypatch.setattr(MethodInputs, "fit", leave)
    found = find_conflicting(inputs, num_epochs=2, q=0.7)
    # The network is left as it begins, so its mistakes are those of the untrained one.
    with torch.no_grad():
        logits = inputs.untrained.eval()(inputs.feed.take(torch.arange(len(inputs.train))))
    assert found.tolist() == (logits.argmax(dim=1) != inputs.train.labels).tolist()
    assert torch.equal(find_conflicting(inputs, num_epochs=2, q=0.7), found)
    find_conflicting(inputs, num_epochs=1, q=0.7)
    find_conflicting(inputs, num_epochs=1, q=0.5)
    assert [steps for steps, _ in asked] == [2 * inputs.steps_per_epoch, inputs.steps_per_epoch, inputs.steps_per_epoch]


@pytest.mark.parametrize("q", [0.7, 1.0])
def test_it_minimises_the_generalised_cross_entropy(q: float, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs("dcwp")
    losses: list[float] = []
    expected: list[float] = []

    def evaluate(_self: MethodInputs, model: nn.Module, *_: object, loss: object) -> nn.Module:
        indices = torch.tensor([4, 0, 9])
        batch: Tensor = inputs.feed.take(indices)
        assert callable(loss)
        losses.append(loss(model.eval(), batch, indices).item())
        rows, labels = model(batch).tolist(), inputs.train.labels[indices].tolist()
        twins = [generalized_cross_entropy(row, label, q) for row, label in zip(rows, labels, strict=True)]
        expected.append(sum(twins) / 3)
        return model

    monkeypatch.setattr(MethodInputs, "fit", evaluate)
    find_conflicting(inputs, num_epochs=1, q=q)
    assert losses == pytest.approx(expected, rel=1e-5)


def test_the_chosen_samples_count_so_many_times() -> None:
    weights = upweight(torch.tensor([True, False, True, False]), 80)
    assert weights.tolist() == [80, 1, 80, 1]
    assert weights.dtype == torch.float32
