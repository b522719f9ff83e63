"""A shrunk network computes what the masked one does."""

import copy

import pytest
import timm
import torch
from torch import nn

from prusc.errors import ModelError
from prusc.masks import apply_mask, channel_mask
from prusc.models.channels import find_channels, hide
from prusc.models.head import find_head
from prusc.models.shrinking import load_compact, read_units, shrink
from tests.models.shrinkable import EVERY_NETWORK, draw_kept, traced
from tests.networks import NUM_CLASSES, random_images, randomise, small_cnn
from tests.traces import no_trace


@EVERY_NETWORK
def test_the_smaller_network_has_the_outputs_of_the_masked_one(name: str) -> None:
    model, inputs, channels = traced(name)
    kept = draw_kept(channels)
    masked = copy.deepcopy(model)
    apply_mask(masked, channel_mask(masked, channels.groups, kept))
    with torch.no_grad():
        expected = masked(inputs)
        assert (expected - model(inputs)).abs().max() > 1e-3
        with no_trace(masked):
            small = shrink(masked, channels.groups)
        torch.testing.assert_close(small(inputs), expected, rtol=1e-4, atol=1e-5)
    for group, own in zip(channels.groups, kept, strict=True):
        assert torch.equal(read_units(masked, group), own)
        # By hand: a layer has as many rows as positions whose unit is kept.
        for layer, places in group.written.items():
            weight = small.get_submodule(layer).weight
            assert isinstance(weight, torch.Tensor)
            gone = sum(
                int((~k[g.written[layer].units]).sum())
                for g, k in zip(channels.groups, kept, strict=True)
                if layer in g.written
            )
            assert len(weight) == len(model.get_submodule(layer).weight) - gone, (layer, places)
    assert {type(module) for module in small.modules()} == {type(module) for module in model.modules()}


@EVERY_NETWORK
def test_weights_alone_restore_it_in_a_network_of_the_original_size(name: str) -> None:
    model, inputs, channels = traced(name)
    hidden = copy.deepcopy(model)
    hide(hidden, channels.groups, draw_kept(channels, seed=1, share=0.3))
    small = shrink(hidden, channels.groups)
    restored = copy.deepcopy(model)
    load_compact(restored, small.state_dict())
    with torch.no_grad():
        assert torch.equal(restored(inputs), small(inputs))


def test_every_group_keeps_a_unit_and_without_zeros_all_stay() -> None:
    model, inputs, channels = traced("small-cnn")
    hidden = copy.deepcopy(model)
    hide(hidden, channels.groups, [torch.zeros(group.size, dtype=torch.bool) for group in channels.groups])
    small = shrink(hidden, channels.groups)
    assert [small.get_submodule(group.name).out_channels for group in channels.groups] == [1, 1, 1]
    with torch.no_grad():
        torch.testing.assert_close(small(inputs), hidden(inputs))
    whole = shrink(model, channels.groups).state_dict()
    assert all(torch.equal(value, whole[name]) for name, value in model.state_dict().items())


def test_it_can_be_trained_and_keeps_what_was_frozen() -> None:
    model, inputs, channels = traced("skip")
    frozen = copy.deepcopy(model)
    frozen.get_submodule("stem").requires_grad_(False)
    hide(frozen, channels.groups, draw_kept(channels))
    small = shrink(frozen, channels.groups).train()
    small(inputs).sum().backward()
    for name, parameter in small.named_parameters():
        assert (parameter.grad is None) == name.startswith("stem."), name


def test_weights_of_another_network_are_refused() -> None:
    state = small_cnn().state_dict()
    wider = nn.Conv2d(3, 40, 3, bias=False).weight
    with pytest.raises(ModelError, match=r"encoder.0.weight has shape \[40, 3, 3, 3\] in the weights and \[32, 3"):
        load_compact(small_cnn(), {**state, "encoder.0.weight": wider})
    del state["head.bias"]
    with pytest.raises(ModelError, match=r"missing: head.bias; not in the network: other"):
        load_compact(small_cnn(), {**state, "other": torch.zeros(1)})
    normed = nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4))
    smaller = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2)).state_dict()
    with pytest.raises(ModelError, match=r"1.weight .* and a LayerNorm cannot shrink"):
        load_compact(normed, smaller)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnext_tiny", "vit_small_patch16_224", "resnext26ts", "regnety_002"])
def test_published_architectures_shrink(name: str) -> None:
    model = randomise(timm.create_model(name, num_classes=NUM_CLASSES))
    inputs = random_images(2, 224 if "vit" in name else 64)
    channels = find_channels(model, inputs, head_name=find_head(model, inputs))
    hide(model, channels.groups, draw_kept(channels))
    small = shrink(model, channels.groups)
    assert sum(p.numel() for p in small.parameters()) < 0.7 * sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        torch.testing.assert_close(small(inputs), model(inputs), rtol=1e-3, atol=1e-4)
