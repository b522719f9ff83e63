import copy

import pytest
import torch
from torch import nn

from prusc.errors import ConfigError
from prusc.masks import BinaryMask, MaskedModel, apply_mask, maskable_parameters
from tests.masks.cases import EVERY_NETWORK, EVERY_SMALL_NETWORK, make, scatter_logits
from tests.networks import generator, small_cnn
from tests.traces import no_trace


@EVERY_NETWORK
def test_the_gradient_reaches_every_mask_logit(name: str) -> None:
    model, inputs = make(name)
    masked = MaskedModel(model, initial_logit=1.0, generator=generator())
    reached = {name: torch.zeros_like(w, dtype=torch.bool) for name, w in maskable_parameters(model).items()}
    with no_trace(model):
        for _ in range(3):
            # Pass by pass: among ten million sums of three gradients one may be 0 by chance.
            masked.zero_grad()
            outputs = masked(inputs)
            (outputs * torch.randn(outputs.shape, generator=generator(2))).sum().backward()
            for parameter, logits in zip(masked.parameter_names, masked.mask_logits, strict=True):
                assert logits.grad is not None, parameter
                assert logits.grad.isfinite().all(), parameter
                reached[parameter] |= logits.grad != 0
    assert {parameter: int((~entries).sum()) for parameter, entries in reached.items()} == dict.fromkeys(reached, 0)


@EVERY_SMALL_NETWORK
def test_each_masked_weight_changes_the_output(name: str) -> None:
    model, inputs = make(name)
    model = model.double()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    masked = MaskedModel(model, initial_logit=1.0).eval()
    whole = masked(inputs)
    num_flipped = 0
    for logits in masked.mask_logits:
        for index in range(logits.numel()):
            logits.data.view(-1)[index] = -1
            assert (masked(inputs) - whole).abs().max() > 1e-12, (masked.parameter_names, index)
            logits.data.view(-1)[index] = 1
            num_flipped += 1
    assert num_flipped == masked.num_masked
    assert torch.equal(masked(inputs), whole)


@EVERY_NETWORK
def test_evaluation_mode_is_the_network_with_the_thresholded_mask(name: str) -> None:
    model, inputs = make(name)
    masked = MaskedModel(model).eval()
    torch.testing.assert_close(masked(inputs), model(inputs), rtol=1e-5, atol=1e-6)
    scatter_logits(masked)
    baked = copy.deepcopy(model)
    apply_mask(baked, masked.binary_mask())
    found = masked(inputs)
    assert torch.equal(found, masked(inputs))
    torch.testing.assert_close(found, baked(inputs), rtol=1e-5, atol=1e-5)
    assert (found - model(inputs)).abs().max() > 1e-3


@EVERY_NETWORK
def test_training_mode_draws_a_new_mask_each_time(name: str) -> None:
    model, inputs = make(name)
    masked = MaskedModel(model, generator=generator(1))
    again = MaskedModel(model, generator=generator(1))
    with no_trace(model):
        first, second = masked(inputs), masked(inputs)
        assert torch.equal(again(inputs), first)
    assert (first - second).abs().max() > 1e-4
    assert masked.training
    assert not model.training


def test_training_mode_uses_exactly_the_sampled_weights() -> None:
    model = nn.Sequential(nn.Linear(30, 1, bias=False))
    masked = MaskedModel(model, generator=generator(1))
    kept = masked(torch.eye(30)).squeeze(1) != 0
    assert 5 < kept.sum() < 25
    again = MaskedModel(model, generator=generator(1))
    torch.testing.assert_close(again(torch.eye(30)).squeeze(1), torch.where(kept, model[0].weight[0], 0.0))


def test_the_keep_rate_follows_the_logit_at_the_models_temperature() -> None:
    model = nn.Sequential(nn.Linear(100_000, 1, bias=False))
    model[0].weight.data.fill_(1)
    for temperature in (0.2, 2.0):
        masked = MaskedModel(model, initial_logit=1.0, temperature=temperature, generator=generator())
        share = masked(torch.ones(1, 100_000)).item() / 100_000
        assert share == pytest.approx(torch.tensor(1.0).sigmoid().item(), abs=5 * 0.45 / 100_000**0.5)


def test_the_temperature_reaches_the_gradient() -> None:
    model, inputs = make("convolutions")
    slopes = []
    for temperature in (1.0, 4.0):
        masked = MaskedModel(model, temperature=temperature, generator=generator())
        masked(inputs).square().sum().backward()
        slopes.append(masked.mask_logits[0].grad)
    assert (slopes[0] - slopes[1]).abs().max() > 1e-3 * slopes[0].abs().max()


def test_the_binary_mask_keeps_logits_of_zero_and_more() -> None:
    masked = MaskedModel(nn.Linear(5, 1))
    masked.mask_logits[0].data = torch.tensor([[-2.0, -1e-8, 0.0, 1e-8, 2.0]])
    mask = masked.binary_mask()
    assert list(mask.tensors) == ["weight"]
    assert mask.tensors["weight"].dtype == torch.bool
    assert mask.tensors["weight"].tolist() == [[False, False, True, True, True]]
    assert mask.density == pytest.approx(0.6)


def test_its_parameters_are_the_logits_alone() -> None:
    model, _ = make("convolutions")
    masked = MaskedModel(model, initial_logit=-0.5)
    assert masked.parameter_names == ("conv.weight", "depthwise.weight", "head.weight")
    assert [tuple(p.shape) for p in masked.parameters()] == [(3, 2, 3, 3), (3, 1, 2, 2), (3, 3)]
    assert all((p == -0.5).all() and p.requires_grad for p in masked.parameters())
    assert masked.num_masked == 54 + 12 + 9
    assert list(masked.state_dict()) == ["mask_logits.0", "mask_logits.1", "mask_logits.2"]
    assert masked.model is model
    assert model not in masked.modules()


def test_the_logits_of_a_channels_last_weight_lie_in_the_usual_order() -> None:
    model = nn.Conv2d(8, 8, 3).to(memory_format=torch.channels_last)
    assert MaskedModel(model).mask_logits[0].is_contiguous()


def test_a_shared_weight_has_one_mask_and_wears_it_everywhere() -> None:
    model, tokens = make("tied")
    masked = MaskedModel(model).eval()
    assert masked.parameter_names == ("embedding.weight", "first.weight", "head.weight")
    masked.mask_logits[1].data = torch.where(torch.eye(4).bool(), 1.0, -1.0)
    baked = copy.deepcopy(model)
    with torch.no_grad():
        baked.first.weight.mul_(torch.eye(4))
    assert baked.second.weight is baked.first.weight
    torch.testing.assert_close(masked(tokens), baked(tokens))


def test_what_no_pattern_chose_stays_whole() -> None:
    model, inputs = make("convolutions")
    masked = MaskedModel(model, include=("head.*",), initial_logit=-1.0).eval()
    assert torch.equal(masked(inputs), model.head.bias.expand(4, -1))


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_a_temperature_has_to_be_positive(temperature: float) -> None:
    with pytest.raises(ConfigError, match=f"greater than 0, found {temperature}"):
        MaskedModel(nn.Linear(2, 2), temperature=temperature)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_gradients_pass_through_autocast_in_32_bits(dtype: torch.dtype) -> None:
    model, inputs = make("convolutions")
    masked = MaskedModel(model, generator=generator())
    with torch.autocast("cpu", dtype=dtype):
        outputs = masked(inputs)
    assert outputs.dtype == dtype
    outputs.float().square().sum().backward()
    exact = MaskedModel(model, generator=generator())
    exact(inputs).square().sum().backward()
    for found, expected in zip(masked.mask_logits, exact.mask_logits, strict=True):
        assert found.grad is not None
        assert expected.grad is not None
        assert found.grad.dtype == torch.float32
        assert nn.functional.cosine_similarity(found.grad.flatten(), expected.grad.flatten(), dim=0) > 0.99


def test_a_mask_moves_to_another_network_of_the_same_shape() -> None:
    masked = MaskedModel(small_cnn(0))
    scatter_logits(masked)
    other = small_cnn(1)
    apply_mask(other, masked.binary_mask())
    assert isinstance(masked.binary_mask(), BinaryMask)
    assert (other.head.weight == 0).sum() == (masked.mask_logits[3] < 0).sum() > 0
