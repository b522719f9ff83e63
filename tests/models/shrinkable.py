"""Networks with their channels, each traced once."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor, nn

from prusc.models.channels import Channels, find_channels
from prusc.models.head import find_head
from tests.networks import (
    Grouped,
    Skip,
    convnext,
    generator,
    mobilenet_v2,
    random_images,
    randomise,
    resnet18,
    small_cnn,
    vit_of_one_block,
)

FAST: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "small-cnn": (small_cnn, 12),
    "skip": (lambda: randomise(Skip()), 8),
    "grouped": (lambda: randomise(Grouped()), 8),
    "convnext": (convnext, 32),
    "vit": (vit_of_one_block, 16),
}
SLOW: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (resnet18, 64),
    "mobilenet_v2": (lambda: randomise(mobilenet_v2()), 64),
}
EVERY_NETWORK = pytest.mark.parametrize("name", [*FAST, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW)])


@cache
def traced(name: str) -> tuple[nn.Module, Tensor, Channels]:
    """The network, inputs, and its channels; no test may change them."""
    make, size = {**FAST, **SLOW}[name]
    model, inputs = make(), random_images(3, size)
    return model, inputs, find_channels(model, inputs, head_name=find_head(model, inputs))


def draw_kept(channels: Channels, seed: int = 0, share: float = 0.5) -> list[Tensor]:
    """Which units are kept, at random; at least one of each group."""
    source = generator(seed)
    kept = [torch.rand(group.size, generator=source) < share for group in channels.groups]
    for own in kept:
        own[0] = True
    return kept
