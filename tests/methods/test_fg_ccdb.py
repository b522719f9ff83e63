import pytest
import torch

from prusc.methods import MethodInputs
from prusc.methods.fg_ccdb import FG_CCDB, FGCCDBSettings, confusion_weights
from tests.methods.inputs import make_inputs
from tests.networks import generator
from tests.reference import methods as reference


@pytest.mark.parametrize("seed", range(4))
def test_the_weights_equal_their_slow_twin(seed: int) -> None:
    source = generator(seed)
    labels = torch.randint(0, 4, (50,), generator=source)
    right = torch.rand(50, generator=source) < 0.7
    predictions = torch.where(right, labels, torch.randint(0, 3, (50,), generator=source))
    expected = reference.confusion_weights(predictions.tolist(), labels.tolist())
    assert confusion_weights(predictions, labels, num_classes=5).tolist() == pytest.approx(expected, rel=1e-5)


def test_the_direction_of_a_mistake_counts() -> None:
    labels = torch.tensor([0] * 40 + [1] * 40 + [2] * 40)
    predictions = labels.clone()
    predictions[0] = 1
    predictions[1:4] = 2
    weights = confusion_weights(predictions, labels, num_classes=3)
    assert weights[0] > 3 * weights[1] > 3 * weights[4]


def test_it_trains_a_new_network_on_these_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs("fg-ccdb")
    asked: list[tuple[int, torch.Tensor]] = []
    draws = MethodInputs.draws

    def spy(self: MethodInputs, name: str, num_steps: int, weights: torch.Tensor) -> object:
        asked.append((num_steps, weights))
        return draws(self, name, num_steps, weights)

    monkeypatch.setattr(MethodInputs, "draws", spy)
    trained = FG_CCDB.train(inputs, FGCCDBSettings(share=0.5))
    [(num_steps, weights)] = asked
    [view] = inputs.made.values()
    assert num_steps == inputs.num_steps(0.5)
    assert torch.equal(weights, confusion_weights(view.predictions, inputs.train.labels, num_classes=3))
    assert trained.facts["num_conflicting"] == int((view.predictions != inputs.train.labels).sum())
    assert not torch.equal(trained.network.head.weight, inputs.untrained.head.weight)
