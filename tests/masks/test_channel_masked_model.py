"""One mask logit per channel: the same draws, gradients and thresholds as for weights."""

import copy

import pytest
import torch
from torch import Tensor, nn

from prusc.errors import ConfigError, ModelError
from prusc.masks import ChannelMaskedModel, apply_mask, keep_units
from prusc.models.head import RepresentationTap, find_head
from tests.masks.cases import scatter_logits
from tests.models.shrinkable import EVERY_NETWORK, traced
from tests.networks import Skip, generator, random_images, randomise
from tests.traces import no_trace


def mask_of(name: str, *, seed: int = 0, initial_logit: float = 0.0) -> tuple[ChannelMaskedModel, Tensor]:
    model, inputs, channels = traced(name)
    head_name = find_head(model, inputs)
    options = {"head_name": head_name, "initial_logit": initial_logit, "generator": generator(seed)}
    return ChannelMaskedModel(copy.deepcopy(model), channels.groups, **options), inputs


@EVERY_NETWORK
def test_evaluation_mode_is_the_network_with_the_thresholded_mask(name: str) -> None:
    masked, inputs = mask_of(name)
    with torch.no_grad():
        torch.testing.assert_close(masked.eval()(inputs), masked.model(inputs), rtol=1e-4, atol=1e-5)
        scatter_logits(masked)
        baked = copy.deepcopy(masked.model)
        apply_mask(baked, masked.binary_mask())
        torch.testing.assert_close(masked(inputs), baked(inputs), rtol=1e-4, atol=1e-5)
        assert (masked(inputs) - masked.model(inputs)).abs().max() > 1e-3


@EVERY_NETWORK
def test_the_gradient_reaches_every_logit_also_of_channels_that_are_off(name: str) -> None:
    masked, inputs = mask_of(name)
    off = [torch.zeros_like(logits, dtype=torch.bool) for logits in masked.mask_logits]
    # Dropout draws from the global generator.
    with no_trace(masked.model), torch.random.fork_rng(devices=[]):
        outputs = masked(inputs)
        (outputs * torch.randn(outputs.shape, generator=generator(2))).sum().backward()
    for reached, logits in zip(off, masked.mask_logits, strict=True):
        assert logits.grad is not None
        assert logits.grad.isfinite().all()
        # A ReLU is silent where its input is negative; sigmoid and softplus never are.
        share = (logits.grad != 0).float().mean()
        assert share == 1 if name == "skip" else share > 0, (name, reached.shape)


def by_hand(model: Skip, images: Tensor, units: dict[int, Tensor]) -> Tensor:
    """The network with each channel multiplied where it is read, written down once more."""
    stem = nn.functional.softplus(model.stem(images))
    m8, m12 = units[8].view(1, -1, 1, 1), units[12].view(1, -1, 1, 1)
    hidden = torch.sigmoid(model.norm(model.inner(stem * m8))) + stem
    last = torch.exp(-model.last(hidden * m8).abs()) * m12
    return model.head(torch.cat([last.mean((2, 3)), (hidden * m8).mean((2, 3))], dim=1))


def test_outputs_and_gradients_are_those_of_channels_that_are_multiplied_by_hand() -> None:
    model = randomise(Skip()).double()
    images = random_images(3, 8).double()
    _, _, channels = traced("skip")
    # Soft masks: evaluation would threshold them, so the factors are put in place of the draws.
    masked = ChannelMaskedModel(model, channels.groups, head_name="head").double()
    soft = {
        group.size: torch.rand(group.size, generator=generator(3), dtype=torch.float64) for group in channels.groups
    }
    factors = [soft[group.size].clone().requires_grad_() for group in channels.groups]
    masked._draw = lambda: factors  # type: ignore[method-assign]
    expected_factors = {size: value.clone().requires_grad_() for size, value in soft.items()}
    found, expected = masked.eval()(images), by_hand(model, images, expected_factors)
    torch.testing.assert_close(found, expected)
    weights = torch.randn(found.shape, generator=generator(4), dtype=torch.float64)
    (found * weights).sum().backward()
    (expected * weights).sum().backward()
    for group, factor in zip(channels.groups, factors, strict=True):
        torch.testing.assert_close(factor.grad, expected_factors[group.size].grad)


def test_draws_keep_a_channel_as_often_as_its_logit_says_and_readers_share_them() -> None:
    masked, inputs = mask_of("skip", initial_logit=1.0)
    drawn = torch.stack([torch.cat(masked._draw()) for _ in range(400)])
    assert set(drawn.unique().tolist()) == {0.0, 1.0}
    assert drawn.mean().item() == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=0.02)
    # All three readers of the eight channels see the same draw: the output is that of some mask by hand.
    masked, inputs = mask_of("skip", seed=5)
    again = ChannelMaskedModel(masked.model, masked.groups, head_name="head", generator=generator(5))
    units = {group.size: own for group, own in zip(again.groups, again._draw(), strict=True)}
    masked.model.train()
    statistics = copy.deepcopy(masked.model)
    with torch.no_grad():
        torch.testing.assert_close(masked(inputs), by_hand(statistics, inputs, units), rtol=1e-4, atol=1e-5)  # type: ignore[arg-type]


def test_representations_are_those_of_the_masked_network() -> None:
    masked, inputs = mask_of("skip")
    masked.eval()
    for logits in masked.mask_logits:
        logits.data[1] = -1.0
    with RepresentationTap(masked.model, "head") as tap, torch.no_grad():
        masked(inputs)
        values = tap.take()
    assert (values == 0).all(dim=0).nonzero().flatten().tolist() == [1, 13]


def test_a_group_never_loses_its_last_channel() -> None:
    logits = torch.tensor([-3.0, -1.0, -2.0])
    assert keep_units(logits, 0.0).tolist() == [False, True, False]
    assert keep_units(torch.tensor([0.0, -1.0]), 0.0).tolist() == [True, False]
    masked, _ = mask_of("small-cnn", initial_logit=-1.0)
    masked.mask_logits[0].data[3] = -0.5
    name = masked.groups[0].name
    assert masked.binary_mask().tensors[f"{name}.weight"].flatten(1).any(dim=1).nonzero().flatten().tolist() == [3]


def test_a_higher_threshold_keeps_fewer() -> None:
    masked, _ = mask_of("small-cnn")
    scatter_logits(masked)
    densities = [masked.binary_mask(threshold).density for threshold in (-10.0, 0.0, 0.5, torch.inf)]
    assert densities == sorted(densities, reverse=True)
    assert densities[0] == 1
    assert len(set(densities)) == 4


def test_no_group_and_no_temperature_are_refused() -> None:
    model, _, channels = traced("small-cnn")
    with pytest.raises(ModelError, match="no channels that can be removed"):
        ChannelMaskedModel(model, [])
    with pytest.raises(ConfigError, match="temperature"):
        ChannelMaskedModel(model, channels.groups, temperature=0.0)
