import pytest
import torch

from prusc.errors import ConfigError
from prusc.methods.lff import LFF, LfFSettings, LossAverages, relative_difficulty
from tests.methods.inputs import make_inputs
from tests.networks import generator
from tests.reference import reweighting as reference


def test_the_averages_equal_their_slow_twin() -> None:
    source = generator()
    labels = torch.tensor([0, 1, 0, 1, 2, 0])
    averages = LossAverages(labels, 0.7, torch.device("cpu"))
    # The last sample is never seen; the others are, in batches of three.
    batches = [(torch.randperm(5, generator=source)[:3], torch.rand(3, generator=source)) for _ in range(6)]
    expected = reference.loss_averages(
        [(indices.tolist(), losses.tolist()) for indices, losses in batches], labels.tolist(), 0.7
    )
    for (indices, losses), values in zip(batches, expected, strict=True):
        assert averages.update(losses, indices).tolist() == pytest.approx(values, rel=1e-5)


def test_a_sample_is_difficult_where_the_biased_network_alone_fails() -> None:
    weights = relative_difficulty(torch.tensor([1.0, 0.0, 0.5, 0.0]), torch.tensor([0.0, 1.0, 0.5, 0.0]))
    assert weights.tolist() == pytest.approx([1.0, 0.0, 0.5, 0.0])


def test_the_losses_of_one_network_do_not_move_the_other() -> None:
    inputs = make_inputs("lff")
    plain, other = (LFF.train(inputs, LfFSettings(q=q)).network for q in (0.7, 1.0))
    # Another biased network, other weights, so another debiased network.
    assert not torch.equal(plain.head.weight, other.head.weight)
    assert {id(p) for p in plain.parameters()}.isdisjoint({id(p) for p in inputs.untrained.parameters()})


@pytest.mark.parametrize("values", [{"memory": 1.0}, {"share": 0.0}, {"q": -0.5}])
def test_settings_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=rf"{next(iter(values))} must be .*, found"):
        LfFSettings(**values)
