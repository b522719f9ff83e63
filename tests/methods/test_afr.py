import pytest
import torch

from prusc.errors import ConfigError
from prusc.methods.afr import AFR, AFRSettings, refit_head, weigh_samples
from prusc.stages.heads import Head
from tests.methods.inputs import make_inputs
from tests.networks import generator
from tests.reference import refit
from tests.reference import reweighting as reference


@pytest.mark.parametrize("sharpness", [0.0, 4.0, 14.0])
def test_the_weights_equal_their_slow_twin(sharpness: float) -> None:
    logits, labels = 2 * torch.randn(12, 3, generator=generator()), torch.tensor([0] * 6 + [1] * 4 + [2] * 2)
    expected = reference.afr_weights(logits.double().tolist(), labels.tolist(), sharpness)
    assert weigh_samples(logits, labels, sharpness=sharpness).tolist() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("l2", [0.01, 0.5])
def test_the_head_equals_its_slow_twin(l2: float) -> None:
    source = generator(1)
    values, labels = torch.randn(15, 4, generator=source), torch.arange(15) % 3
    weights = torch.rand(15, generator=source, dtype=torch.float64)
    origin = Head(torch.randn(3, 4, generator=source), torch.randn(3, generator=source))
    found = refit_head(values, labels, weights / weights.sum(), origin, l2=l2)
    expected = refit.near_head(values, labels, weights / weights.sum(), origin, l2)
    torch.testing.assert_close(found[0].double(), expected[0], atol=2e-3, rtol=0)
    torch.testing.assert_close(found[1].double(), expected[1], atol=2e-3, rtol=0)


def test_its_first_stage_is_shared_by_the_settings_and_only_the_head_differs() -> None:
    inputs = make_inputs("afr")
    networks = [AFR.train(inputs, AFRSettings(l2=l2)).network.state_dict() for l2 in (0.2, 0.001)]
    first, held_out = inputs.made["first stage"]
    assert len(held_out) == round(0.2 * len(inputs.train))
    assert len(held_out.unique()) == len(held_out)
    for key, value in first.state_dict().items():
        same = [torch.equal(network[key], value) for network in networks]
        assert same == ([False, False] if key.startswith("head.") else [True, True]), key


@pytest.mark.parametrize("values", [{"l2": 0.0}, {"sharpness": -1.0}])
def test_settings_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"{next(iter(values))} must be .*, found"):
        AFRSettings(**values)
