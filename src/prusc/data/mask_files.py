"""Masks as people save them (0 and 255, 0 and 1, alpha, indices, 16 bits), read as True inside the object."""

from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool
from numpy.typing import NDArray
from PIL import Image

from prusc.data.folder_walk import images_in, sub_folders
from prusc.data.images import crop_square, open_image
from prusc.errors import DataError

MASK_FOLDER_NAMES = ("masks", "mask", "segmentations", "segmentation")

# Compression turns black and white into a few dark and bright shades.
_NOISE = 24
_MAX_INDICES = 64
_NUM_PROBED = 5


def read_mask(path: Path, size: int) -> Bool[np.ndarray, "{size} {size}"]:
    """Read a mask, resized and cropped as `prusc.data.images.decode_image` does with its image.

    White is inside. If a picture has only two values, the larger one is inside, so 0 and 1 are understood too; a
    picture of one value is empty if that is 0, else full. Where the colours say nothing, the transparency does. Of
    coloured index masks, all that is not black is inside.

    Args:
        path: The file.
        size: Height and width of the result in pixels.

    Returns:
        Whether each pixel is inside.

    Raises:
        DataError: If the file cannot be read, or its values do not say what is inside.
    """
    with open_image(path) as image:
        inside = _find_inside(image, path)
    picture = Image.fromarray(np.where(inside, 255, 0).astype(np.uint8))
    return np.asarray(crop_square(picture, size)) >= 128


def is_mask_folder(folder: Path) -> bool:
    """Whether a folder has a usual name of masks, and its first pictures have only two shades of gray."""
    if folder.name.lower() not in MASK_FOLDER_NAMES:
        return False
    files = images_in(folder) or [file for sub in sub_folders(folder) for file in images_in(sub)]
    return bool(files) and all(map(_looks_like_mask, files[:_NUM_PROBED]))


def _looks_like_mask(path: Path) -> bool:
    try:
        with open_image(path) as image:
            values = _read_colours(image)
    except DataError:
        return False
    if values.ndim == 3:
        return len(np.unique(values.reshape(-1, values.shape[2]), axis=0)) <= _MAX_INDICES
    values = values.astype(np.int64)
    low, high = int(values.min()), int(values.max())
    return float(np.mean((values - low <= _NOISE) | (high - values <= _NOISE))) > 0.98


def _find_inside(image: Image.Image, path: Path) -> NDArray[np.bool_]:
    values = _read_colours(image)
    if values.ndim == 2:
        return _split_values(values, path)
    inside = np.asarray(values.max(axis=2) > _NOISE)
    if inside.all():
        raise DataError(
            f"mask {path} has colours and nothing black, so it does not say what is outside; expected white inside and "
            "black outside"
        )
    return inside


def _read_colours(image: Image.Image) -> NDArray[Any]:
    """Return one number per pixel [height, width], or colours [height, width, 3] if there are any."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.float64)
    if image.mode in ("1", "L") and not image.has_transparency_data:
        return np.asarray(image.convert("L"))
    layers = np.asarray(image.convert("RGBA")).astype(np.int64)
    colours, alpha = layers[:, :, :3], layers[:, :, 3]
    visible = colours[alpha > 0]
    if int(alpha.min()) < 255 and len(np.unique(visible, axis=0)) <= 1:
        return alpha
    colours = np.where(alpha[:, :, None] >= 128, colours, 0)
    brightest = colours.max(axis=2)
    # Half-transparent edges of a white object have no colour either.
    return brightest if int((brightest - colours.min(axis=2)).max()) <= _NOISE else colours


def _split_values(values: NDArray[Any], path: Path) -> NDArray[np.bool_]:
    """Return what is inside of a picture of one number per pixel."""
    # Counting is many times faster than sorting, and data sets have thousands of masks.
    is_small = values.dtype == np.uint8
    different = np.flatnonzero(np.bincount(values.ravel(), minlength=256)) if is_small else np.unique(values)
    if not np.isfinite(different).all():
        raise DataError(f"mask {path} holds values that are not finite; expected white inside and black outside")
    low, high = float(different[0]), float(different[-1])
    if len(different) == 1:
        return np.full(values.shape, low > 0)
    if len(different) == 2:
        return np.asarray(values > different[0])
    largest = 255 if high <= 255 else 65535
    if high < largest / 2 or low < 0 or high > largest:
        shown = ", ".join(f"{value:g}" for value in different[:6].astype(float))
        raise DataError(
            f"mask {path} has the values {shown}{', ...' if len(different) > 6 else ''}, which do not say what is "
            f"inside; expected white ({largest}) inside and black (0) outside"
        )
    return np.asarray(values >= (largest + 1) // 2)
