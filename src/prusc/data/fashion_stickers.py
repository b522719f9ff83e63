"""The packaged default data: photographs of garments with a coloured sticker that gives the class away."""

from dataclasses import dataclass
from importlib import resources

import numpy as np
import torch
from jaxtyping import Bool
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from prusc.data.synthetic.shares import count_values
from prusc.data.table import Data, Split
from prusc.errors import ConfigError, DataError

CLASS_NAMES = ("tshirt", "pullover", "coat", "shirt")
COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255), "yellow": (255, 255, 0)}
"""Colours of the stickers. The colour at the index of a class agrees with that class."""

IMAGES_PER_CLASS = 5_000
IMAGE_SIZE = 28
STICKER_SIZE = 8

_IMAGES_PER_ROW = 100
_NUM_COLOURS = len(COLOURS)


def load_fashion_stickers(
    *,
    correlation: float = 0.95,
    seed: int = 0,
    num_train_per_class: int = 3_000,
    num_val_per_class: int = 1_000,
    num_test_per_class: int = 1_000,
) -> Data:
    """Build the data set ``fashion-stickers`` from the packaged images of Fashion-MNIST.

    Each image has one solid 8x8 sticker on its left or right edge. In train and val its colour agrees with the class
    for exactly ``round(correlation * n)`` of the ``n`` samples of each class. The other samples get the other three
    colours in equal numbers, as far as possible. In test, every class has the same number of stickers of each colour.

    Runs with different correlations are comparable, because the same seed gives the same images in each split and the
    same test set. More training images only add to the smaller set.

    Args:
        correlation: Share of the train and val samples whose colour agrees with the class, in ``[0.25, 1]``. 0.25 makes
            colour and class independent.
        seed: Seed of the splits, the colours, the places and the order of the samples.
        num_train_per_class: Number of training images of each class.
        num_val_per_class: Number of validation images of each class.
        num_test_per_class: Number of test images of each class; a multiple of 4, the number of colours.

    Returns:
        Inputs uint8 [N, 3, 28, 28], in an order that mixes the classes; attribute ``colour``; 16 groups.

    Raises:
        ConfigError: If an argument is out of range or a class has too few images for the three splits.
        DataError: If the packaged images cannot be read.

    References:
        Xiao, Rasul, Vollgraf 2017, arXiv:1708.07747 (Fashion-MNIST).
    """
    if not 1 / _NUM_COLOURS <= correlation <= 1:
        raise ConfigError(
            f"correlation is {correlation}; expected a share from {1 / _NUM_COLOURS} (independent) to 1 (always agrees)"
        )
    if seed < 0:
        raise ConfigError(f"the seed of fashion-stickers is {seed}; expected 0 or more")
    _check_counts(num_train_per_class, num_val_per_class, num_test_per_class)

    images = np.stack([_read_class(name) for name in CLASS_NAMES])
    # Each split has its own stream, so that the choices for one split do not change another one.
    order_rng, train_rng, val_rng, test_rng = np.random.default_rng(seed).spawn(4)
    shuffled = np.stack([order_rng.permutation(IMAGES_PER_CLASS) for _ in CLASS_NAMES])
    test, val, train = np.split(shuffled, [num_test_per_class, num_test_per_class + num_val_per_class], axis=1)
    return Data(
        name="fashion-stickers",
        class_names=CLASS_NAMES,
        train=_make_split(images, train[:, :num_train_per_class], correlation, train_rng),
        val=_make_split(images, val, correlation, val_rng),
        test=_make_split(images, test, 1 / _NUM_COLOURS, test_rng),
        attribute_names=("colour",),
        attribute_values=(tuple(COLOURS),),
        mean=(0.5,) * 3,
        std=(0.5,) * 3,
        origin={
            "name": "fashion-stickers",
            "correlation": correlation,
            "seed": seed,
            "num_train_per_class": num_train_per_class,
            "num_val_per_class": num_val_per_class,
            "num_test_per_class": num_test_per_class,
        },
    )


def _check_counts(num_train: int, num_val: int, num_test: int) -> None:
    """Refuse numbers of samples per class that the packaged images cannot provide."""
    for name, count in (("train", num_train), ("val", num_val), ("test", num_test)):
        if count < 1:
            raise ConfigError(
                f"num_{name}_per_class is {count}; expected at least 1, because every split needs each class"
            )
    if num_test % _NUM_COLOURS:
        raise ConfigError(
            f"num_test_per_class is {num_test}; expected a multiple of {_NUM_COLOURS}, so that every class of "
            "the test split has equal shares of the colours"
        )
    total = num_train + num_val + num_test
    if total > IMAGES_PER_CLASS:
        raise ConfigError(
            f"train, val and test together need {num_train} + {num_val} + {num_test} = {total} images of each "
            f"class; fashion-stickers has {IMAGES_PER_CLASS}"
        )


def _read_class(name: str) -> NDArray[np.uint8]:
    """Cut the packaged mosaic of one class into its images, [5000, 28, 28]."""
    num_rows = IMAGES_PER_CLASS // _IMAGES_PER_ROW
    source = resources.files("prusc.data") / "fashion_stickers_images" / f"{name}.png"
    try:
        with source.open("rb") as file, Image.open(file) as image:
            mosaic = np.asarray(image, dtype=np.uint8)
    except (OSError, SyntaxError) as error:
        raise DataError(
            f"the packaged images {source} cannot be read ({error}); expected a complete package: install prusc again"
        ) from error
    expected = (num_rows * IMAGE_SIZE, _IMAGES_PER_ROW * IMAGE_SIZE)
    if mosaic.shape != expected:
        raise DataError(
            f"the packaged images {source} have the shape {mosaic.shape}; expected {expected}: install prusc again"
        )
    tiles = mosaic.reshape(num_rows, IMAGE_SIZE, _IMAGES_PER_ROW, IMAGE_SIZE).swapaxes(1, 2)
    return tiles.reshape(IMAGES_PER_CLASS, IMAGE_SIZE, IMAGE_SIZE)


def _make_split(
    images: NDArray[np.uint8], chosen: NDArray[np.int64], correlation: float, rng: np.random.Generator
) -> Split:
    """Lay stickers on the chosen images [class, n] of the images [class, 5000, 28, 28], and shuffle them."""
    num_classes, num_per_class = chosen.shape
    labels = np.repeat(np.arange(num_classes), num_per_class)
    counts = [count_values(label, num_per_class, correlation, _NUM_COLOURS) for label in range(num_classes)]
    # The chosen images are in random order already, so blocks of one colour correlate with nothing.
    colours = np.concatenate([np.repeat(np.arange(_NUM_COLOURS), count) for count in counts])

    order = rng.permutation(len(labels))
    labels, colours, indices = labels[order], colours[order], chosen.reshape(-1)[order]
    inputs = np.repeat(images[labels, indices][:, None], 3, axis=1)
    places = _lay_stickers(inputs, np.array(list(COLOURS.values()), dtype=np.uint8)[colours], rng)
    return Split(
        inputs=torch.from_numpy(inputs),
        labels=torch.from_numpy(labels),
        attributes=torch.from_numpy(colours[:, None]),
        sample_ids=tuple(
            f"{CLASS_NAMES[label]}-{index:05d}" for label, index in zip(labels.tolist(), indices.tolist(), strict=True)
        ),
        regions=places,
    )


@dataclass(frozen=True, eq=False)
class _StickerPlaces:
    """Upper left corner of each sticker; gives the regions of a split."""

    top: NDArray[np.int64]
    left: NDArray[np.int64]

    def __call__(self, index: int) -> dict[str, Bool[Tensor, "28 28"]]:
        inside = torch.zeros(IMAGE_SIZE, IMAGE_SIZE, dtype=torch.bool)
        top, left = int(self.top[index]), int(self.left[index])
        inside[top : top + STICKER_SIZE, left : left + STICKER_SIZE] = True
        return {"sticker": inside}


def _lay_stickers(inputs: NDArray[np.uint8], rgb: NDArray[np.uint8], rng: np.random.Generator) -> _StickerPlaces:
    """Paint a sticker of colour rgb [N, 3] at a random place of each of the inputs [N, 3, 28, 28], in place."""
    num_samples, free = len(inputs), IMAGE_SIZE - STICKER_SIZE
    left = free * rng.integers(0, 2, size=num_samples)
    top = rng.integers(0, free + 1, size=num_samples)
    span = np.arange(STICKER_SIZE)
    sample = np.arange(num_samples)[:, None, None]
    rows, columns = (top[:, None] + span)[:, :, None], (left[:, None] + span)[:, None, :]
    inputs[sample, :, rows, columns] = rgb[:, None, None, :]
    return _StickerPlaces(top, left)
