"""Operations, counted by hand."""

import copy

import pytest
import torch
from torch import nn

from prusc.masks import BinaryMask, apply_mask, channel_mask
from prusc.models.flops import NetworkFlops, count_flops
from prusc.models.shrinking import shrink
from tests.models.shrinkable import draw_kept, traced
from tests.networks import random_images, small_cnn
from tests.traces import no_trace


def test_a_multiplication_and_its_addition_are_two_operations() -> None:
    model = small_cnn()
    with no_trace(model):
        found = count_flops(model, random_images(2, 28))
    # Two images; the first convolution has 32 outputs of 14 x 14 pixels, of 3 x 3 x 3 products each.
    layers = {
        "encoder.0": 2 * 32 * 14 * 14 * 27,
        "encoder.3": 2 * 64 * 7 * 7 * 32 * 9,
        "encoder.6": 2 * 128 * 7 * 7 * 64 * 9,
        "head": 2 * 128 * 3,
    }
    assert {name: count for name, count in found.layers.items() if count} == {k: 2 * v for k, v in layers.items()}
    assert found.total == sum(found.layers.values())


@pytest.mark.parametrize("name", ["small-cnn", "skip", "grouped", "convnext"])
def test_the_share_under_a_mask_of_channels_is_that_of_the_shrunk_network(name: str) -> None:
    model, inputs, channels = traced(name)
    mask = channel_mask(model, channels.groups, draw_kept(channels))
    masked = copy.deepcopy(model)
    apply_mask(masked, mask)
    whole = count_flops(model, inputs)
    left = count_flops(shrink(masked, channels.groups), inputs).total
    assert whole.share(mask) == pytest.approx(left / whole.total)


def test_products_inside_attention_count_in_full() -> None:
    model, inputs, channels = traced("vit")
    mask = channel_mask(model, channels.groups, draw_kept(channels))
    masked = copy.deepcopy(model)
    apply_mask(masked, mask)
    whole = count_flops(model, inputs)
    assert count_flops(shrink(masked, channels.groups), inputs).total / whole.total <= whole.share(mask) < 1


def test_layers_without_a_mask_count_in_full() -> None:
    flops = NetworkFlops(100, {"a": 60, "b": 40})
    half = BinaryMask({"a.weight": torch.tensor([True, False])})
    assert flops.share(half) == pytest.approx(0.7)
    assert flops.share(BinaryMask({})) == 1


def test_a_layer_that_is_called_twice_counts_twice() -> None:
    layer = nn.Linear(3, 3, bias=False)
    assert count_flops(nn.Sequential(layer, layer), torch.zeros(1, 3)).layers == {"0": 36}
