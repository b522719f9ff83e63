from dataclasses import replace

import pytest
import torch

from prusc.methods.neurontune import NEURONTUNE, NeuronTuneSettings, measure_dimensions
from prusc.stages.heads import fit_head
from tests.methods.inputs import make_inputs
from tests.networks import generator
from tests.reference import methods as reference


@pytest.mark.parametrize("classes", ["any", "mean"])
@pytest.mark.parametrize("seed", range(4))
def test_the_growth_equals_its_slow_twin(seed: int, classes: str) -> None:
    source = generator(seed)
    values = torch.randn(31, 6, generator=source, dtype=torch.float64)
    labels, wrong = torch.arange(31) % 3, torch.rand(31, generator=source) < 0.4
    # The network is never wrong about class 2, so this class says nothing.
    wrong &= labels != 2
    expected = reference.dimension_growth(values.tolist(), labels.tolist(), wrong.tolist(), classes)
    assert measure_dimensions(values, labels, wrong, classes=classes).tolist() == pytest.approx(expected)


def test_without_a_mistake_nothing_grows() -> None:
    values, labels = torch.rand(6, 3), torch.arange(6) % 2
    assert (measure_dimensions(values, labels, torch.zeros(6, dtype=torch.bool)) == -torch.inf).all()


@pytest.mark.parametrize("threshold", [0.0, 0.5])
def test_what_grows_is_zeroed_and_the_head_refitted_with_balanced_classes(threshold: float) -> None:
    inputs = make_inputs("neurontune")
    # Labels that the network gets wrong.
    labels = torch.where(torch.arange(60) % 4 == 0, (inputs.val.labels + 1) % 3, inputs.val.labels)
    inputs = replace(inputs, val=replace(inputs.val, labels=labels))
    trained = NEURONTUNE.train(inputs, NeuronTuneSettings(threshold=threshold, l2=0.1))
    for key, value in inputs.trained.state_dict().items():
        assert torch.equal(trained.network.state_dict()[key], value) == (not key.startswith("head.")), key
    seen = inputs.represent(inputs.trained, inputs.val)
    growth = measure_dimensions(seen.values, seen.labels, seen.predictions != seen.labels)
    zeroed = growth > threshold * seen.values.std(dim=0)
    assert trained.facts["num_zeroed"] == int(zeroed.sum()) > 0
    weight = trained.network.head.weight.detach()
    assert (weight[:, zeroed] == 0).all()
    counts = torch.bincount(seen.labels)
    head = fit_head(seen.values[:, ~zeroed], seen.labels, 1 / counts[seen.labels], num_classes=3, l2=0.1)
    torch.testing.assert_close(weight[:, ~zeroed], head.weight, atol=1e-3, rtol=1e-3)
    assert trained.val_logits is not None
    assert not torch.allclose(trained.val_logits, inputs.represent(trained.network, inputs.val).logits, atol=1e-3)
