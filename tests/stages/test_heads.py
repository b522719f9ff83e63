import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.errors import DataError
from prusc.stages.heads import Head, fit_head
from tests.networks import generator
from tests.reference import head_fit as reference


def samples(num_classes: int, num_samples: int = 60, dim: int = 4, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Overlapping classes, dimensions of very different scale, uneven weights."""
    source = generator(seed)
    labels = torch.arange(num_samples) % num_classes
    values = torch.randn(num_samples, dim, generator=source) + torch.randn(num_classes, dim, generator=source)[labels]
    scale = torch.tensor([0.01, 1.0, 30.0, 5.0])
    return values * scale + scale * 3, labels, torch.rand(num_samples, generator=source) + 0.05


def logits_apart(weight: Tensor, bias: Tensor, values: Tensor) -> Tensor:
    """Logits up to what softmax ignores."""
    logits = values.double() @ weight.double().T + bias.double()
    return logits - logits.mean(1, keepdim=True)


@pytest.mark.parametrize("l2", [1.0, 0.05])
@pytest.mark.parametrize("num_classes", [2, 3, 4])
def test_it_equals_its_slow_twin(num_classes: int, l2: float) -> None:
    values, labels, weights = samples(num_classes)
    found = fit_head(values, labels, weights, num_classes=num_classes, l2=l2)
    expected = reference.fit_head(values, labels, weights, num_classes, l2)
    torch.testing.assert_close(logits_apart(*found, values), logits_apart(*expected, values), atol=0.01, rtol=0.01)
    assert found[0].shape == (num_classes, 4)
    assert found[1].shape == (num_classes,)
    assert found[0].dtype == found[1].dtype == torch.float32


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_sample_of_weight_two_counts_like_two_samples(num_classes: int) -> None:
    values, labels, _ = samples(num_classes)
    weights = torch.ones(60)
    weights[:20] = 2
    once = fit_head(values, labels, weights, num_classes=num_classes, l2=0.1)
    twice = fit_head(
        torch.cat([values, values[:20]]),
        torch.cat([labels, labels[:20]]),
        torch.ones(80),
        num_classes=num_classes,
        l2=0.1,
    )
    torch.testing.assert_close(logits_apart(*once, values), logits_apart(*twice, values), atol=5e-3, rtol=5e-3)


def test_the_scale_of_weights_and_of_representations_does_not_matter() -> None:
    values, labels, weights = samples(3)
    base = logits_apart(*fit_head(values, labels, weights, num_classes=3, l2=0.1), values)
    scaled = logits_apart(*fit_head(values, labels, weights * 1e-4, num_classes=3, l2=0.1), values)
    torch.testing.assert_close(base, scaled, atol=2e-3, rtol=2e-3)
    moved = values * 50 - 7
    torch.testing.assert_close(
        base, logits_apart(*fit_head(moved, labels, weights, num_classes=3, l2=0.1), moved), atol=2e-3, rtol=2e-3
    )


def test_samples_without_weight_do_not_count() -> None:
    values, labels, weights = samples(3)
    weights[::4] = 0
    found = fit_head(values, labels, weights, num_classes=3, l2=0.1)
    spoiled = values.clone()
    spoiled[::4] = 1e6
    other = fit_head(spoiled, (labels + (weights == 0)) % 3, weights, num_classes=3, l2=0.1)
    assert torch.equal(found[0], other[0])
    assert torch.equal(found[1], other[1])


def test_more_regularisation_is_a_flatter_head() -> None:
    values, labels, weights = samples(3)
    spreads = [
        logits_apart(*fit_head(values, labels, weights, num_classes=3, l2=l2), values).std() for l2 in (0.01, 1, 100)
    ]
    assert spreads[0] > spreads[1] > spreads[2]


@pytest.mark.parametrize("jitter", [0.0, 1e-6])
def test_a_dimension_that_never_moves_gets_no_weight(jitter: float) -> None:
    values, labels, weights = samples(3)
    values[:, 1] = 4 + jitter * torch.randn(60, generator=generator())
    weight, bias = fit_head(values, labels, weights, num_classes=3, l2=0.1)
    assert torch.equal(weight[:, 1], torch.zeros(3))
    assert (weight[:, [0, 2, 3]] != 0).all()
    assert bias.isfinite().all()


@pytest.mark.parametrize("present", [[0, 2], [0, 2, 3]])
def test_a_class_without_samples_is_never_predicted(present: list[int]) -> None:
    values, labels, weights = samples(len(present))
    labels = torch.tensor(present)[labels]
    weight, bias = fit_head(values, labels, weights, num_classes=5, l2=0.1)
    logits = values @ weight.T + bias
    assert set(logits.argmax(1).tolist()) == set(present)
    assert ((logits.argmax(1) == labels) * weights).sum() / weights.sum() > 0.5
    assert F.softmax(logits, 1)[:, 1].max() == 0


@pytest.mark.parametrize("num_classes", [2, 3])
def test_separable_classes_are_separated(num_classes: int) -> None:
    labels = torch.arange(30) % num_classes
    values = torch.eye(num_classes)[labels] * 2 + 0.1 * torch.randn(30, num_classes, generator=generator())
    weight, bias = fit_head(values, labels, torch.ones(30), num_classes=num_classes, l2=1e-4)
    assert torch.equal((values @ weight.T + bias).argmax(1), labels)


@pytest.mark.parametrize("kept", [[0], []])
def test_fewer_than_two_classes_are_an_error(kept: list[int]) -> None:
    values, labels, weights = samples(3)
    weights = weights * torch.isin(labels, torch.tensor(kept, dtype=torch.long))
    with pytest.raises(DataError, match=f"at least two classes, found {len(kept)}"):
        fit_head(values, labels, weights, num_classes=3, l2=0.1)


@pytest.mark.filterwarnings("error")
def test_it_is_quiet_and_draws_nothing() -> None:
    values, labels, weights = samples(3)
    state = torch.get_rng_state()
    first, again = (fit_head(values, labels, weights, num_classes=3, l2=1e-9) for _ in range(2))
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert torch.equal(torch.get_rng_state(), state)


def test_a_head_is_written_into_a_layer_with_and_without_a_bias() -> None:
    weight, bias = torch.randn(3, 4, generator=generator()), torch.randn(3, generator=generator())
    with_bias, without = nn.Linear(4, 3), nn.Linear(4, 3, bias=False)
    Head(weight, bias).write(with_bias)
    Head(weight, bias).write(without)
    assert torch.equal(with_bias.weight, weight)
    assert torch.equal(with_bias.bias, bias)
    assert torch.equal(without.weight, weight)
    assert with_bias.weight.requires_grad
    assert with_bias.weight is not weight
