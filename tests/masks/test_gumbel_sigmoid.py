import math

import pytest
import torch
from torch import Tensor

from prusc.masks import sample_masked_weight, sample_masked_weights
from prusc.masks.gumbel_sigmoid import _CHUNK, Layouts, _SampledWeights, _uniform_like
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


def several_layers() -> tuple[list[Tensor], list[Tensor]]:
    """Layers of the layouts that networks have; in the third, the logits lie in another order than the weights."""
    pairs = [logits_and_weight(*shape) for shape in ((4, 3, 3, 2), (5, 2, 1, 1), (3, 4, 2, 2), (7,))]
    logits, weights = zip(*pairs, strict=True)
    last = torch.channels_last
    return (
        [logits[0].to(memory_format=last), logits[1].to(memory_format=last), *logits[2:]],
        [weights[0].to(memory_format=last), weights[1], weights[2].to(memory_format=last), weights[3]],
    )


def sample_at_once(
    logits: list[Tensor], weights: list[Tensor], temperature: float, seed: int = 0
) -> tuple[list[Tensor], list[Tensor]]:
    """Sample as on a GPU; return the masked weights, and the logits that are to get gradients."""
    layouts = Layouts.of(logits)
    assert layouts is not None
    leaves = [own.detach().clone().requires_grad_() for own in logits]
    return list(_SampledWeights.apply(temperature, generator(seed), layouts, *leaves, *weights)), leaves


@TEMPERATURES
def test_all_layers_at_once_equal_the_slow_twin_in_every_layout(temperature: float) -> None:
    logits, weights = several_layers()
    masked, leaves = sample_at_once(logits, weights, temperature, seed=2)
    gradients = [torch.randn(own.shape, generator=generator(8)) for own in weights]
    torch.autograd.backward(masked, gradients)
    uniforms = _uniform_like(torch.empty(sum(own.numel() for own in logits)), generator(2)).tolist()
    for own, weight, found, leaf, arriving in zip(logits, weights, masked, leaves, gradients, strict=True):
        assert found.shape == weight.shape
        assert found.stride() == own.stride()
        assert leaf.grad is not None
        assert leaf.grad.stride() == own.stride()
        # In the order of the logits' memory, as the numbers are drawn.
        order = (0, 2, 3, 1) if own.ndim == 4 and not own.is_contiguous() else tuple(range(own.ndim))
        columns = (tensor.permute(order).flatten().tolist() for tensor in (own, weight, found, leaf.grad, arriving))
        for logit, value, product, slope, gradient in zip(*columns, strict=True):
            uniform = uniforms.pop(0)
            assert product == reference.masked_weight(logit, value, uniform, temperature)
            expected = reference.straight_through_gradient(logit, value, uniform, temperature, gradient)
            assert slope == pytest.approx(expected, rel=1e-3, abs=1e-6)
    assert not uniforms


def test_a_layer_that_the_loss_leaves_out_gets_no_gradient_from_all_at_once() -> None:
    logits, weights = several_layers()
    masked, leaves = sample_at_once(logits, weights, 1.0)
    (masked[0].sum() + masked[2].square().sum()).backward()
    assert [leaf.grad is None for leaf in leaves] == [False, True, False, True]
    alone, alone_leaves = sample_at_once(logits, weights, 1.0)
    torch.autograd.backward(alone, [torch.ones_like(own) for own in alone])
    assert torch.equal(leaves[0].grad, alone_leaves[0].grad)  # type: ignore[arg-type]


def test_layers_that_have_gaps_in_memory_are_not_taken_as_vectors() -> None:
    logits, _ = logits_and_weight(6, 4)
    assert Layouts.of([logits, logits.T]) is not None
    assert Layouts.of([logits, logits[:, ::2]]) is None
    assert Layouts.of([logits[:1].expand(3, 4)]) is None


def test_on_a_cpu_several_layers_are_drawn_one_after_the_other() -> None:
    logits, weights = several_layers()
    source = generator(3)
    expected = [sample_masked_weight(*pair, generator=source) for pair in zip(logits, weights, strict=True)]
    for found, own in zip(sample_masked_weights(logits, weights, generator=generator(3)), expected, strict=True):
        assert torch.equal(found, own)


def test_off_the_cpu_all_layers_are_one_node_of_the_graph_unless_one_has_gaps() -> None:
    # The meta device has shapes and no numbers, and stands for a GPU.
    logits, weights = ([tensor.to("meta").requires_grad_() for tensor in own] for own in several_layers())
    masked = sample_masked_weights(logits, weights)
    assert [own.shape for own in masked] == [own.shape for own in weights]
    assert len({own.grad_fn for own in masked}) == 1
    sum(own.sum() for own in masked).backward()
    assert all(own.grad is not None and own.grad.shape == own.shape for own in logits)
    assert all(own.grad is None for own in weights)
    gap = torch.empty(7, 2, device="meta")[:, 0].requires_grad_()
    masked = sample_masked_weights([*logits[:3], gap], weights)
    assert len({own.grad_fn for own in masked}) == 4
