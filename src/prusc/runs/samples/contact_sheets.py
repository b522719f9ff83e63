"""Contact sheets: many small pictures in few files, as tiles in a fixed order, without metadata."""

import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from prusc.data.batches import iterate_batches

COLUMNS = 25
TILES_PER_SHEET = 500
SUFFIX = ".webp"

# Lossy compression blurs smaller pictures, and lossless compression hardly takes more space for them.
_LOSSLESS_SIDE = 32
_BATCH = 256


@dataclass(frozen=True)
class TileSize:
    """Width and height of every tile, in pixels."""

    width: int
    height: int


def are_pictures(inputs: Tensor | Dataset[Any], *, raw: bool = False) -> bool:
    """Return whether the inputs of a split are images that can be shown: gray or RGB, uint8 or already normalised.

    Args:
        inputs: Inputs of a split.
        raw: Ask for uint8. The range of normalised images is unknown, so their brightness cannot be compared.
    """
    batch = next(iter(iterate_batches(inputs, torch.arange(1), batch_size=1)))
    if not isinstance(batch, Tensor) or batch.ndim != 4 or batch.shape[1] not in (1, 3):
        return False
    return batch.dtype == torch.uint8 or (batch.is_floating_point() and not raw)


def fit_tile(width: int, height: int, largest_side: int) -> TileSize:
    """Return the size of an image scaled down to a largest side; small images keep their size."""
    scale = min(1.0, largest_side / max(width, height))
    return TileSize(max(1, round(width * scale)), max(1, round(height * scale)))


def make_tiles(
    inputs: Tensor | Dataset[Any], indices: Tensor, *, largest_side: int, num_workers: int = 0
) -> Iterator[Image.Image]:
    """Yield a small picture of each sample of ``indices``, in this order."""
    for batch in iterate_batches(inputs, indices, batch_size=_BATCH, num_workers=num_workers):
        assert isinstance(batch, Tensor)
        for pixels in batch:
            yield _small_picture(pixels, largest_side)


def _small_picture(pixels: Shaped[Tensor, "channels height width"], largest_side: int) -> Image.Image:
    if pixels.is_floating_point():
        # The normalisation of a user's own transform is unknown, so the whole range of the picture is shown.
        low, high = pixels.min(), pixels.max()
        pixels = ((pixels - low) / (high - low).clamp(min=1e-12) * 255).round().to(torch.uint8)
    values = pixels.expand(3, -1, -1).permute(1, 2, 0).contiguous().numpy()
    image = Image.fromarray(values)
    size = fit_tile(*image.size, largest_side)
    return image if image.size == (size.width, size.height) else image.resize((size.width, size.height), reducing_gap=3)


def write_sheets(tiles: Sequence[Image.Image]) -> Iterator[bytes]:
    """Yield image files with the tiles row by row, `COLUMNS` per row and `TILES_PER_SHEET` per file.

    Args:
        tiles: At least one tile; all have the same size.

    Yields:
        Content of the next file.
    """
    width, height = tiles[0].size
    for start in range(0, len(tiles), TILES_PER_SHEET):
        part = tiles[start : start + TILES_PER_SHEET]
        sheet = Image.new("RGB", (width * min(COLUMNS, len(part)), height * -(-len(part) // COLUMNS)))
        for index, tile in enumerate(part):
            sheet.paste(tile, (width * (index % COLUMNS), height * (index // COLUMNS)))
        yield encode_picture(sheet, lossless=max(width, height) <= _LOSSLESS_SIDE)


def encode_picture(image: Image.Image, *, lossless: bool) -> bytes:
    """Return a WebP file of an image without metadata."""
    file = io.BytesIO()
    image.save(
        file,
        "WEBP",
        lossless=lossless,
        quality=60 if lossless else 75,
        method=1 if lossless else 3,
        exif=b"",
        icc_profile=b"",
    )
    return file.getvalue()


def cut_tile(sheet: NDArray[np.uint8], position: int, size: TileSize) -> NDArray[np.uint8]:
    """Return the tile [height, width, 3] at a position of a sheet [height, width, 3]."""
    top, left = size.height * (position // COLUMNS), size.width * (position % COLUMNS)
    return sheet[top : top + size.height, left : left + size.width]
