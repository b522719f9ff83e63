"""The images that a data set is composed from, and which of them go into which split."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prusc.errors import ConfigError, DataError

VAL_SHARE = 0.2
"""Share of the original training images that is kept for validation."""


@dataclass(frozen=True, eq=False)
class Originals:
    """Images with labels as their authors publish them.

    Attributes:
        name: What they are, such as ``mnist``, read off their content and not off their folder's name.
        class_names: One name per class.
        train_images: uint8, [N, H, W] or [N, C, H, W].
        train_labels: Class of each training image [N].
        test_images: As `train_images`.
        test_labels: As `train_labels`.
    """

    name: str
    class_names: tuple[str, ...]
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]

    def images_of(self, split: str) -> NDArray[np.uint8]:
        """Return the images that this split is taken from; validation comes from the training images."""
        return self.test_images if split == "test" else self.train_images


def find_folder(source: str | Path | None, subfolders: tuple[str, ...], first_file: str, needed: str) -> Path | None:
    """Return the folder of a source that holds a file, or its name with ``.gz`` after it.

    Args:
        source: The folder that the user names.
        subfolders: Where else in it to look, in this order.
        first_file: The file.
        needed: What the source should be, for the error.

    Returns:
        The folder, or ``None`` if the file is in none of them.

    Raises:
        ConfigError: If no source is given.
    """
    if source is None:
        raise ConfigError(
            f"no source of images is given; expected {needed}, by data_options.source, or with data_options.download "
            "the folder to download them into"
        )
    for folder in (Path(source), *(Path(source) / name for name in subfolders)):
        if any((folder / f"{first_file}{ending}").is_file() for ending in ("", ".gz")):
            return folder
    return None


def choose_images(
    labels: NDArray[np.int64], *, num_train: int | None, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose training and validation images, class by class.

    One image in five of each class is set aside for validation. A smaller `num_train` takes fewer training images, with
    the classes in the same shares, and as many fewer validation images; those that it takes are among those that a
    larger one takes.

    Args:
        labels: Class of each original training image [N]; images of class -1 are left out.
        num_train: How many training images; all that there are if ``None``.
        rng: Decides which images, and their order.

    Returns:
        Indices of the training images and of the validation images, each in an order that mixes the classes.

    Raises:
        ConfigError: If there are not so many images, or not one for each class.
        DataError: If a class has fewer than two images.
    """
    pools = [rng.permutation(np.flatnonzero(labels == label)) for label in np.unique(labels[labels >= 0]).tolist()]
    smallest = min(len(pool) for pool in pools)
    if smallest < 2:
        raise DataError(f"a class has {smallest} original training image; expected at least 2, one for validation")
    val_sizes = [max(1, round(VAL_SHARE * len(pool))) for pool in pools]
    val_pools = [pool[:size] for pool, size in zip(pools, val_sizes, strict=True)]
    train_pools = [pool[size:] for pool, size in zip(pools, val_sizes, strict=True)]
    most_train, most_val = sum(map(len, train_pools)), sum(val_sizes)
    if num_train is None:
        num_train = most_train
    if not len(pools) <= num_train <= most_train:
        raise ConfigError(
            f"num_train is {num_train}; expected from {len(pools)} (one image a class) to {most_train} (all that are "
            "not kept for validation)"
        )
    num_val = max(len(pools), round(num_train * most_val / most_train))
    return rng.permutation(_take_evenly(train_pools, num_train)), rng.permutation(_take_evenly(val_pools, num_val))


def _take_evenly(pools: list[NDArray[np.int64]], total: int) -> NDArray[np.int64]:
    """Take so many in all, from each pool's front and from all pools in the same proportion, at least one from each."""
    how_deep = np.concatenate([np.arange(len(pool)) / len(pool) for pool in pools])
    return np.concatenate(pools)[np.argsort(how_deep, kind="stable")[:total]]
