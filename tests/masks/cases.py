"""Networks that every mask has to work on, each with inputs."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from prusc.masks import MaskedModel
from tests.networks import (
    Attentive,
    ConvNet,
    Recurrent,
    Tied,
    generator,
    random_images,
    random_sequences,
    randomise,
    resnet18,
    vit_tiny,
)

SMALL: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "convolutions": (ConvNet, random_images(4, 5, 2)),
    "lstm": (Recurrent, random_sequences(4)),
    "tied": (Tied, torch.tensor([[0, 1, 2], [3, 4, 4], [1, 0, 3]])),
    "attention": (Attentive, random_sequences(4)[..., :1].expand(-1, -1, 4) * torch.tensor([1.0, -2.0, 0.5, 3.0])),
}
LARGE: dict[str, tuple[Callable[[], nn.Module], Tensor]] = {
    "resnet18": (resnet18, random_images(8, 96)),
    "vit_tiny": (vit_tiny, random_images(4, 32)),
}
EVERY_SMALL_NETWORK = pytest.mark.parametrize("name", SMALL)
EVERY_NETWORK = pytest.mark.parametrize("name", [*SMALL, *LARGE])


def make(name: str) -> tuple[nn.Module, Tensor]:
    build, inputs = {**SMALL, **LARGE}[name]
    return randomise(build()), inputs


def scatter_logits(masked: MaskedModel, seed: int = 3) -> None:
    source = generator(seed)
    for logits in masked.mask_logits:
        logits.data = torch.randn(logits.shape, generator=source)
