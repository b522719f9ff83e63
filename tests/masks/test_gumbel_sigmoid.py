import math

import pytest
import torch
from torch import Tensor

from prusc.masks import sample_masked_weight
from prusc.masks.gumbel_sigmoid import _CHUNK, _uniform_like
from tests.networks import generator
from tests.reference import mask_sampling as reference

TEMPERATURES = pytest.mark.parametrize("temperature", [0.1, 1.0, 4.0])


def logits_and_weight(*shape: int, seed: int = 5) -> tuple[Tensor, Tensor]:
    source = generator(seed)
    return 2 * torch.randn(shape, generator=source), torch.randn(shape, generator=source)


def sample(
    logits: Tensor, weight: Tensor, temperature: float, seed: int = 0, gradient: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the masked weight and the gradient of the logits."""
    logits = logits.clone().requires_grad_()
    masked = sample_masked_weight(logits, weight, temperature=temperature, generator=generator(seed))
    masked.backward(torch.ones_like(masked) if gradient is None else gradient)
    assert logits.grad is not None
    return masked.detach(), logits.grad


@TEMPERATURES
@pytest.mark.parametrize("logit", [-4.0, -1.0, -0.1, 0.0, 0.5, 3.0])
def test_the_keep_rate_is_the_sigmoid_of_the_logit_at_any_temperature(logit: float, temperature: float) -> None:
    num_draws = 2 * _CHUNK + 17
    masked = sample_masked_weight(
        torch.full((num_draws,), logit), torch.ones(num_draws), temperature=temperature, generator=generator(3)
    )
    expected = reference.sigmoid(logit)
    # Five standard errors, and the 2**-17 that draws of 16 bits may be off.
    tolerance = 5 * math.sqrt(expected * (1 - expected) / num_draws) + 2**-17
    assert masked.mean().item() == pytest.approx(expected, abs=tolerance)
    assert set(masked.unique().tolist()) == {0.0, 1.0}


def test_neighbours_are_drawn_independently() -> None:
    # Four draws come from the same 64 bits: any two of them have to be kept together a quarter of the time.
    kept = sample_masked_weight(torch.zeros(400_000), torch.ones(400_000), generator=generator(4)).view(-1, 4)
    for lag in (1, 2, 3):
        together = (kept.flatten()[lag:] * kept.flatten()[:-lag]).mean().item()
        assert together == pytest.approx(0.25, abs=5 * math.sqrt(0.25 * 0.75 / 400_000))
    for column in range(4):
        assert kept[:, column].mean().item() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(100_000))


def test_uniform_numbers_fill_the_open_interval() -> None:
    numbers = _uniform_like(torch.empty(300_001), generator(1)).double()
    assert numbers.min() > 0
    assert numbers.max() < 1
    assert numbers.mean().item() == pytest.approx(0.5, abs=5 / math.sqrt(12 * 300_001))
    assert numbers.var().item() == pytest.approx(1 / 12, rel=0.01)
    counts = torch.histc(numbers.float(), 32, 0, 1)
    assert ((counts - 300_001 / 32).abs() < 6 * math.sqrt(300_001 / 32)).all()


@TEMPERATURES
@pytest.mark.parametrize("shape", [(1,), (7, 3), (4, 3, 2, 2)])
def test_value_and_gradient_equal_their_slow_twin(shape: tuple[int, ...], temperature: float) -> None:
    logits, weight = logits_and_weight(*shape)
    gradient = torch.randn(shape, generator=generator(8))
    masked, slope = sample(logits, weight, temperature, seed=2, gradient=gradient)
    uniforms = _uniform_like(logits.flatten(), generator(2)).tolist()
    columns = (logits.flatten().tolist(), weight.flatten().tolist(), uniforms, gradient.flatten().tolist())
    for index, (logit, value, uniform, arriving) in enumerate(zip(*columns, strict=True)):
        assert masked.view(-1)[index].item() == reference.masked_weight(logit, value, uniform, temperature)
        expected = reference.straight_through_gradient(logit, value, uniform, temperature, arriving)
        # Half precision: 11 bits, and steps of 2**-24 near zero, before the division by the temperature.
        rounding = abs(arriving * value) * 2**-24 / temperature
        assert slope.view(-1)[index].item() == pytest.approx(expected, rel=2e-3, abs=2 * rounding + 1e-9)


@TEMPERATURES
def test_the_gradient_equals_that_of_autograd(temperature: float) -> None:
    logits, weight = logits_and_weight(64, 33)
    gradient = torch.randn(64, 33, generator=generator(8))
    masked, slope = sample(logits, weight, temperature, gradient=gradient)
    logits.requires_grad_()
    uniform = _uniform_like(logits.detach().flatten(), generator()).view_as(logits)
    soft = ((logits + uniform.log() - (1 - uniform).log()) / temperature).sigmoid()
    straight_through = (soft >= 0.5).float() - soft.detach() + soft
    (weight * straight_through).backward(gradient)
    torch.testing.assert_close(masked, (weight * (soft >= 0.5)).detach())
    assert logits.grad is not None
    torch.testing.assert_close(slope, logits.grad, rtol=2e-3, atol=1e-6 / temperature)


def test_the_gradient_does_not_depend_on_what_was_sampled() -> None:
    # Pruned weights learn as well as kept ones.
    logits, weight = logits_and_weight(1000)
    masked, slope = sample(logits, weight, 1.0)
    assert (masked == 0).sum() > 100
    assert (slope != 0).all()


def test_chunks_meet_without_a_gap() -> None:
    num_weights = 2 * _CHUNK + 5
    weight = torch.arange(1.0, num_weights + 1)
    masked, slope = sample(torch.full((num_weights,), 20.0), weight, 1.0)
    assert torch.equal(masked, weight)
    masked, slope = sample(torch.zeros(num_weights), weight, 1.0)
    # The parts of a long weight get draws of their own.
    kept = masked != 0
    assert not torch.equal(kept[:1000], kept[_CHUNK : _CHUNK + 1000])
    assert (slope / weight > 0).all()
    assert (slope / weight <= 0.25).all()


def test_memory_layouts_do_not_mix_the_weights_up() -> None:
    logits, weight = logits_and_weight(6, 5, 3, 3)
    expected = sample(logits, weight, 1.0)
    for other in (weight.to(memory_format=torch.channels_last), weight.transpose(0, 1).contiguous().transpose(0, 1)):
        assert not other.is_contiguous()
        found = sample(logits, other, 1.0)
        assert torch.equal(found[0], expected[0])
        assert torch.equal(found[1], expected[1])


def test_a_generator_decides_and_the_global_one_is_left_alone() -> None:
    logits, weight = logits_and_weight(50)
    state = torch.get_rng_state()
    first, again, other = (sample(logits, weight, 1.0, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)


def test_without_a_generator_the_global_one_decides() -> None:
    logits, weight = logits_and_weight(50)
    with torch.random.fork_rng():
        draws = []
        for seed in (1, 1, 2):
            torch.manual_seed(seed)
            draws.append(sample_masked_weight(logits, weight))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


def test_the_weight_gets_no_gradient_and_does_not_change() -> None:
    logits, weight = logits_and_weight(20)
    before = weight.clone()
    weight.requires_grad_()
    sample_masked_weight(logits.requires_grad_(), weight, generator=generator()).sum().backward()
    assert weight.grad is None
    assert logits.grad is not None
    assert torch.equal(weight, before)


@pytest.mark.parametrize("logit", [-1e4, -60.0, 60.0, 1e4])
@TEMPERATURES
def test_extreme_logits_give_finite_numbers(logit: float, temperature: float) -> None:
    masked, slope = sample(torch.full((100,), logit), torch.ones(100), temperature)
    assert masked.tolist() == [1.0 if logit > 0 else 0.0] * 100
    assert slope.isfinite().all()


def test_double_precision_and_empty_weights_work() -> None:
    logits, weight = logits_and_weight(9)
    masked, _ = sample(logits.double(), weight.double(), 1.0)
    assert masked.dtype == torch.float64
    assert torch.equal(masked.float(), sample(logits, weight, 1.0)[0])
    assert sample_masked_weight(torch.empty(0, 3), torch.empty(0, 3)).shape == (0, 3)
