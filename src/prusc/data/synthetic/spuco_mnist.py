"""SpuCoMNIST: pairs of digits as classes, and a coloured background that is more or less easy to learn."""

import colorsys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prusc.data.synthetic.composition import compose_splits, make_data
from prusc.data.synthetic.idx_files import IMAGE_SIZE, read_mnist
from prusc.data.table import Data
from prusc.errors import ConfigError, nearest_names

NUM_CLASSES = 5
COLOUR_NAMES = ("red", "lime", "green", "blue", "purple")
"""Hues at 0, 72, 144, 216 and 288 degrees, fully saturated. The one at the index of a class agrees with it."""

# Side of the square in the upper left corner that is coloured.
_MAGNITUDES = {"large": IMAGE_SIZE, "medium": 4, "small": 2}
# Side of the square in the upper left corner. 49 of its pixels are coloured, drawn anew for each image.
_VARIANCES = {"low": 7, "medium": 14, "high": IMAGE_SIZE}
_NUM_PIXELS = 49


def load_spuco_mnist(
    *,
    source: str | Path | None = None,
    download: bool = False,
    magnitude: str | None = None,
    variance: str | None = None,
    strength: float = 0.995,
    num_train: int | None = None,
    seed: int = 0,
) -> Data:
    """Compose SpuCoMNIST: classes 0 or 1, 2 or 3, ... and a colour in the background, where the image is black.

    `magnitude` sets how much of the background is coloured; large is easy to learn. Alternatively, `variance` sets how
    widely 49 coloured pixels are scattered; low is easy to learn.

    Args:
        source: Folder of the original images; see `prusc.data.synthetic.idx_files.read_mnist`.
        download: Download MNIST into the folder if it is missing.
        magnitude: ``large``: the whole background; ``medium``: a corner of 4x4; ``small``: a corner of 2x2. If
            neither `magnitude` nor `variance` is given, it is ``large``.
        variance: ``low``: a corner of 7x7; ``medium``: 49 pixels of a corner of 14x14; ``high``: 49 pixels of the whole
            image.
        strength: Share of the train and val samples of each class whose colour agrees with it, in ``[0.2, 1]``.
        num_train: Number of training images; ``None`` takes all that are not kept for validation.
        seed: Seed of the choice of images, of the colours, of the pixels and of the order.

    Returns:
        Inputs uint8 [N, 3, 28, 28]; attribute ``background``. In test, each class has the same number of samples of
        each colour.

    Raises:
        ConfigError: If an argument is out of range, both `magnitude` and `variance` are given or no source is given.
        DataError: If the original images cannot be read.

    References:
        Joshi et al. 2023, arXiv:2306.11957.
    """
    if magnitude is not None and variance is not None:
        raise ConfigError(f"magnitude {magnitude!r} and variance {variance!r} are both given; expected one of them")
    kind, chosen_value = ("magnitude", magnitude or "large") if variance is None else ("variance", variance)
    sides = _MAGNITUDES if kind == "magnitude" else _VARIANCES
    if chosen_value not in sides:
        raise ConfigError(
            f"{kind} is {chosen_value!r}{nearest_names(chosen_value, sides)}; expected one of {', '.join(sides)}"
        )
    if not 1 / NUM_CLASSES <= strength <= 1:
        raise ConfigError(
            f"strength is {strength}; expected a share from {1 / NUM_CLASSES} (independent) to 1 (always agrees)"
        )
    originals = read_mnist(source, download=download)
    colours = np.array([colorsys.hsv_to_rgb(hue / NUM_CLASSES, 1, 1) for hue in range(NUM_CLASSES)])
    rgb = np.rint(255 * colours).astype(np.uint8)

    def paint(
        split: str, chosen: NDArray[np.int64], attributes: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        images = originals.images_of(split)[chosen]
        coloured = _choose_pixels(len(images), sides[chosen_value], kind == "variance", rng) & (images == 0)
        return np.where(coloured[:, None], rgb[attributes][:, :, None, None], images[:, None])

    splits = compose_splits(
        originals.train_labels // 2,
        originals.test_labels // 2,
        paint,
        num_values=NUM_CLASSES,
        conflict_share=1 - strength,
        num_train=num_train,
        seed=seed,
    )
    names = originals.class_names
    return make_data(
        "spuco-mnist",
        splits,
        name=f"spuco-{originals.name}",
        originals=originals.name,
        class_names=tuple(f"{names[2 * pair]} or {names[2 * pair + 1]}" for pair in range(NUM_CLASSES)),
        attribute="background",
        values=COLOUR_NAMES,
        strength=strength,
        seed=seed,
        **{kind: chosen_value},
    )


def _choose_pixels(num_images: int, side: int, strewn: bool, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Choose the coloured pixels of a corner for each image, [N, 28, 28]: all of them, or 49 random ones."""
    pixels = np.zeros((num_images, IMAGE_SIZE, IMAGE_SIZE), dtype=np.bool_)
    if not strewn:
        pixels[:, :side, :side] = True
        return pixels
    ranks = rng.random((num_images, side**2)).argsort(axis=1)
    pixels[:, :side, :side] = (ranks < _NUM_PIXELS).reshape(num_images, side, side)
    return pixels
