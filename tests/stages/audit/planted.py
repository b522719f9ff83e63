"""Small pictures of two classes in which the samples of one value share something, and nothing else does."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

SIDE = 24


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def make_pictures(seed: int, num_samples: int = 240) -> tuple[Tensor, Tensor, Tensor]:
    """Return pictures with a blob of colour and noise, their classes, and values of 0 to 2 that say nothing of them.

    The values are not equally frequent in both classes, and the classes differ in shape and in light.
    """
    source = generator(seed)
    labels = torch.arange(num_samples) % 2
    coin = torch.rand(num_samples, generator=source)
    values = torch.where(coin < torch.where(labels == 0, 0.5, 0.2), 1, torch.where(coin < 0.8, 0, 2))
    coarse = torch.rand(num_samples, 3, 4, 4, generator=source)
    pictures = 90 + 60 * F.interpolate(coarse, size=(SIDE, SIDE), mode="bilinear")
    pictures[labels == 1, :, 8:16, 8:16] += 40
    pictures += 12 * torch.randn(pictures.shape, generator=source)
    return pictures.clamp(0, 255).to(torch.uint8), labels, values


def change(pictures: Tensor, chosen: Tensor, how: Callable[[Tensor], Tensor]) -> Tensor:
    """Change some pictures."""
    changed = pictures.clone()
    changed[chosen] = how(pictures[chosen].float()).clamp(0, 255).to(torch.uint8)
    return changed


def brighten(pictures: Tensor) -> Tensor:
    return pictures + 40


def tint(pictures: Tensor) -> Tensor:
    return pictures + torch.tensor([35.0, -15.0, 0.0])[:, None, None]


def add_sticker(pictures: Tensor) -> Tensor:
    """A blue sticker at the left."""
    pictures = pictures.clone()
    pictures[:, :, 9:15, 1:7] = torch.tensor([40.0, 60.0, 230.0])[:, None, None]
    return pictures


def blur(pictures: Tensor) -> Tensor:
    return F.avg_pool2d(F.pad(pictures, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


def stretch(pictures: Tensor) -> Tensor:
    gray = pictures.mean(dim=1, keepdim=True)
    return pictures + 1.2 * (gray - gray.mean(dim=(2, 3), keepdim=True))


def frame(pictures: Tensor) -> Tensor:
    """A black frame."""
    pictures = pictures.clone()
    for part in (pictures[:, :, :2], pictures[:, :, -2:], pictures[..., :2], pictures[..., -2:]):
        part.fill_(5)
    return pictures
