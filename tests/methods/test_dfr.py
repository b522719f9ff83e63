import pytest
import torch

from prusc.errors import ConfigError
from prusc.methods.dfr import DFR, DFRSettings, balanced_subset, fit_sparse_head, halves, worst_accuracy
from prusc.stages.heads import Head
from tests.methods.inputs import make_inputs
from tests.networks import generator
from tests.reference import refit


@pytest.mark.parametrize(("num_classes", "inverse_strength"), [(2, 1.0), (3, 0.1), (3, 1.0)])
def test_the_head_equals_its_slow_twin(num_classes: int, inverse_strength: float) -> None:
    source = generator(2)
    labels = torch.arange(20) % num_classes
    values = torch.randn(20, 4, generator=source)
    values[:, 0] += labels
    found = fit_sparse_head(values, labels, num_classes=num_classes, inverse_strength=inverse_strength)
    expected = refit.sparse_head(values, labels, num_classes, inverse_strength)
    # The bias is free up to a constant.
    torch.testing.assert_close(found[0].double(), expected[0], atol=2e-3, rtol=0)
    bias = found[1].double() - found[1].double().mean()
    torch.testing.assert_close(bias, expected[1] - expected[1].mean(), atol=2e-3, rtol=0)


def test_less_c_is_fewer_weights() -> None:
    labels = torch.arange(40) % 2
    values = torch.randn(40, 30, generator=generator()) + labels[:, None] * 0.3
    kept = [
        int((fit_sparse_head(values, labels, num_classes=2, inverse_strength=c)[0] != 0).sum())
        for c in (1.0, 0.1, 1e-4)
    ]
    assert kept[0] > kept[1] > kept[2] == 0


def test_a_subset_has_as_many_samples_of_every_group() -> None:
    groups = torch.tensor([0] * 9 + [2] * 4 + [5] * 6)
    chosen = balanced_subset(groups, generator())
    assert torch.bincount(groups[chosen]).tolist() == [4, 0, 4, 0, 0, 4]
    assert len(chosen.unique()) == 12
    assert not torch.equal(chosen.sort()[0], balanced_subset(groups, generator(1)).sort()[0])


def test_halves_are_halves_of_every_group() -> None:
    groups = torch.tensor([0] * 9 + [2] * 4 + [5])
    first, second = halves(groups, generator())
    assert torch.cat([first, second]).sort()[0].tolist() == list(range(14))
    assert torch.bincount(groups[first]).tolist() == [5, 0, 2, 0, 0, 1]


def test_the_worst_accuracy_is_a_mean_over_heads() -> None:
    values, labels = torch.eye(2)[[0, 1, 1]], torch.tensor([0, 1, 0])
    right, wrong = Head(torch.eye(2), torch.zeros(2)), Head(-torch.eye(2), torch.zeros(2))
    groups = torch.tensor([0, 1, 1])
    assert worst_accuracy([right], values, labels, groups) == 0.5
    assert worst_accuracy([right, wrong], values, labels, groups) == 0.25


def test_it_fits_the_head_alone_and_says_which_c() -> None:
    inputs = make_inputs("dfr")
    trained = DFR.train(inputs, DFRSettings(inverse_strengths=(1.0, 0.1), num_retrains=2))
    assert trained.facts["c"] in (1.0, 0.1)
    for key, value in inputs.trained.state_dict().items():
        assert torch.equal(trained.network.state_dict()[key], value) == (not key.startswith("head.")), key


@pytest.mark.parametrize("values", [{"inverse_strengths": ()}, {"inverse_strengths": (0.0,)}, {"num_retrains": 0}])
def test_settings_out_of_range_are_refused(values: dict[str, tuple[float, ...] | int]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(values))} must be greater than 0, found"):
        DFRSettings(**values)
