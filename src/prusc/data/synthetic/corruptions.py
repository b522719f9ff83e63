"""Ten corruptions of small colour images at severity 5, for whole batches.

Definitions and constants are those of Hendrycks and Dietterich 2019, arXiv:1903.12261, for CIFAR-10.
docs/reference/benchmark-data.md lists the differences.
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from torch.nn import functional as F

Batch = NDArray[np.floating[Any]]
"""Images [N, H, W, 3] of intensities in ``[0, 1]``."""

_GREY = np.array([0.299, 0.587, 0.114], dtype=np.float32)


def corrupt_images(images: NDArray[np.uint8], name: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Corrupt images.

    Args:
        images: uint8, [N, 3, H, W]; square, with a side that is a power of two.
        name: One of `CORRUPTIONS`.
        rng: Source of the randomness.

    Returns:
        uint8, [N, 3, H, W].
    """
    if len(images) == 0:
        return images.copy()
    batch = images.transpose(0, 2, 3, 1).astype(np.float32) / 255
    corrupted = np.clip(CORRUPTIONS[name](batch, rng), 0, 1) * 255
    return np.ascontiguousarray(np.rint(corrupted).astype(np.uint8).transpose(0, 3, 1, 2))


def _snow(images: Batch, rng: np.random.Generator) -> Batch:
    mean, deviation, zoom, threshold, radius, sigma, keep = 0.3, 0.3, 1.25, 0.65, 14, 12, 0.8
    num, size = images.shape[0], images.shape[1]
    crop = int(np.ceil(size / zoom))
    flakes: Batch = rng.normal(mean, deviation, (num, crop, crop)).astype(np.float32)
    flakes = ndimage.zoom(flakes, (1, size / crop, size / crop), order=1)
    flakes[flakes < threshold] = 0
    flakes = _blur_along(np.clip(flakes, 0, 1), radius, sigma, rng.uniform(-135, -45, size=(num,)))[..., None]
    grey: Batch = (images @ _GREY)[..., None]
    pale: Batch = keep * images + (1 - keep) * np.maximum(images, 1.5 * grey + 0.5)
    return pale + flakes + flakes[:, ::-1, ::-1]


def _frost(images: Batch, rng: np.random.Generator) -> Batch:
    keep, amount = 0.75, 0.45
    return keep * images + amount * _ice(len(images), images.shape[1], rng)


def _ice(num: int, size: int, rng: np.random.Generator) -> Batch:
    """Draw pale blue needles of ice in four directions over a cloudy ground."""
    needles: Batch = np.zeros((num, size, size), dtype=np.float32)
    for _ in range(4):
        seeds = (rng.random((num, size, size)) > 0.985).astype(np.float32)
        needles = np.maximum(needles, _blur_along(seeds, radius=6, sigma=6, angles=rng.uniform(-180, 180, size=(num,))))
    needles = np.clip(needles / needles.max(axis=(1, 2), keepdims=True).clip(min=1e-6), 0, 1)
    ice = np.clip(0.25 + 0.35 * _clouds(num, size, 2.0, rng) + 0.6 * needles, 0, 1)
    return ice[..., None] * np.array([0.85, 0.93, 1.0], dtype=np.float32)


def _fog(images: Batch, rng: np.random.Generator) -> Batch:
    amount, decay = 1.5, 1.75
    brightest: Batch = images.max(axis=(1, 2, 3), keepdims=True)
    foggy = images + amount * _clouds(len(images), images.shape[1], decay, rng)[..., None]
    return foggy * brightest / (brightest + amount)


def _brightness(images: Batch, _: np.random.Generator) -> Batch:
    # Only the value grows in HSV, not hue and saturation, so one factor scales all three channels.
    value: Batch = images.max(axis=-1, keepdims=True)
    brighter = np.clip(value + 0.3, 0, 1)
    result: Batch = np.where(value > 0, images * brighter / np.maximum(value, 1e-6), brighter)
    return result


def _contrast(images: Batch, _: np.random.Generator) -> Batch:
    mean: Batch = images.mean(axis=(1, 2), keepdims=True)
    return mean + 0.15 * (images - mean)


def _spatter(images: Batch, rng: np.random.Generator) -> Batch:
    mean, deviation, sigma, threshold, edge = 0.65, 0.1, 0.5, 0.68, 0.6
    mud = np.array([63, 42, 20], dtype=np.float32) / 255
    liquid: Batch = ndimage.gaussian_filter(
        rng.normal(mean, deviation, images.shape[:3]), (0, sigma, sigma), mode="nearest"
    )
    cover: Batch = ndimage.gaussian_filter((liquid > threshold).astype(np.float32), (0, edge, edge), mode="nearest")
    cover[cover < 0.8] = 0
    return images * (1 - cover[..., None]) + mud * cover[..., None]


def _elastic(images: Batch, rng: np.random.Generator) -> Batch:
    num, size = images.shape[:2]
    distance, sigma, jitter = 0.1 * size, 0.03 * size, 0.03 * size
    centre, reach = size // 2, size // 3
    corners = np.array([[reach, reach], [reach, -reach], [-reach, -reach]], dtype=np.float64) + centre
    moved = corners + rng.uniform(-jitter, jitter, (num, 3, 2))
    # The inverse map, from the moved corners to the corners, states where each pixel of the result is sampled.
    back = np.linalg.solve(np.concatenate([moved, np.ones((num, 3, 1))], axis=2), np.broadcast_to(corners, moved.shape))
    waves = rng.uniform(-1, 1, (num, 2, size, size))
    waves = distance * ndimage.gaussian_filter(waves, (0, 0, sigma, sigma), mode="reflect", truncate=3)
    places = np.arange(size, dtype=np.float64)
    x = places[None, None, :] + waves[:, 0]
    y = places[None, :, None] + waves[:, 1]
    looked_up = np.stack([x, y, np.ones_like(x)], axis=-1).reshape(num, -1, 3) @ back
    grid = torch.from_numpy((2 * looked_up / (size - 1) - 1).astype(np.float32).reshape(num, size, size, 2))
    source = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
    sampled: Batch = F.grid_sample(source, grid, mode="bilinear", padding_mode="reflection", align_corners=True).numpy()
    return sampled.transpose(0, 2, 3, 1)


def _jpeg(images: Batch, _: np.random.Generator) -> Batch:
    def compress(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=40)
        return Image.open(file)

    return _through_pillow(images, compress)


def _pixelate(images: Batch, _: np.random.Generator) -> Batch:
    size = images.shape[1]
    few = int(0.65 * size)

    def coarsen(image: Image.Image) -> Image.Image:
        return image.resize((few, few), Image.Resampling.BOX).resize((size, size), Image.Resampling.BOX)

    return _through_pillow(images, coarsen)


def _saturate(images: Batch, _: np.random.Generator) -> Batch:
    factor, shift = 2.5, 0.2
    value: Batch = images.max(axis=-1, keepdims=True)
    chroma: Batch = value - images.min(axis=-1, keepdims=True)
    saturation = chroma / np.maximum(value, 1e-6)
    # Hue and value stay, so each channel's distance from the value grows with the saturation. Grey has hue 0 (red).
    direction = np.where(chroma > 0, (value - images) / np.maximum(chroma, 1e-6), np.array([0, 1, 1]))
    result: Batch = value * (1 - direction * np.clip(factor * saturation + shift, 0, 1))
    return result


CORRUPTIONS: dict[str, Callable[[Batch, np.random.Generator], Batch]] = {
    "snow": _snow,
    "frost": _frost,
    "fog": _fog,
    "brightness": _brightness,
    "contrast": _contrast,
    "spatter": _spatter,
    "elastic": _elastic,
    "jpeg": _jpeg,
    "pixelate": _pixelate,
    "saturate": _saturate,
}
"""The corruptions in the order of the classes that they agree with in Nam et al. 2020 (their type 0)."""


def _through_pillow(images: Batch, change: Callable[[Image.Image], Image.Image]) -> Batch:
    changed: NDArray[np.uint8] = np.stack(
        [np.asarray(change(Image.fromarray(image))) for image in np.rint(images * 255).astype(np.uint8)]
    )
    return np.divide(changed, 255, dtype=np.float32)


def _blur_along(layers: Batch, radius: int, sigma: float, angles: NDArray[np.float64]) -> Batch:
    """Blur layers [N, H, W] in one direction each, as ImageMagick's motion blur does: one-sided, half a Gaussian."""
    num, height, width = layers.shape
    steps = np.arange(2 * radius + 1)
    weights = np.exp(-(steps**2) / (2 * sigma**2))
    weights = (weights / weights.sum()).astype(np.float32)
    radians = np.deg2rad(angles)[:, None]
    down = np.ceil(steps * np.sin(radians) - 0.5).astype(np.int64)
    right = np.ceil(steps * np.cos(radians) - 0.5).astype(np.int64)
    sample = np.arange(num)[:, None, None]
    blurred = np.zeros_like(layers)
    for step, weight in enumerate(weights):
        rows = np.clip(np.arange(height) + down[:, step, None], 0, height - 1)[:, :, None]
        columns = np.clip(np.arange(width) + right[:, step, None], 0, width - 1)[:, None, :]
        blurred += weight * layers[sample, rows, columns]
    return blurred


def _clouds(num: int, size: int, decay: float, rng: np.random.Generator) -> Batch:
    """Draw clouds [N, size, size] in [0, 1] by the diamond-square algorithm on a torus.

    Each round halves the step and divides the disturbance by the square of `decay`, as in Hendrycks and Dietterich.
    """
    heights: Batch = np.zeros((num, size, size))
    step, reach = size, 1.0
    while step >= 2:
        half = step // 2
        corners = heights[:, ::step, ::step]
        in_rows = corners + np.roll(corners, -1, axis=1)
        centres = _disturb(in_rows + np.roll(in_rows, -1, axis=2), reach, rng)
        heights[:, half::step, half::step] = centres
        across = corners + np.roll(corners, -1, axis=2)
        heights[:, ::step, half::step] = _disturb(across + centres + np.roll(centres, 1, axis=1), reach, rng)
        along = corners + np.roll(corners, -1, axis=1)
        heights[:, half::step, ::step] = _disturb(along + centres + np.roll(centres, 1, axis=2), reach, rng)
        step, reach = half, reach / decay**2
    heights -= heights.min(axis=(1, 2), keepdims=True)
    heights /= heights.max(axis=(1, 2), keepdims=True)
    return heights.astype(np.float32)


def _disturb(sums: NDArray[np.float64], reach: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Return a quarter of each sum of four values, disturbed by up to `reach`."""
    return sums / 4 + rng.uniform(-reach, reach, sums.shape)
