"""Original images that a data set is composed from, and their division into splits."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prusc.errors import ConfigError, DataError

VAL_SHARE = 0.2
"""Share of the original training images that becomes validation."""


@dataclass(frozen=True, eq=False)
class Originals:
    """Images with labels, as their authors publish them.

    Attributes:
        name: Name of the images, such as ``mnist``; determined by their content, not by the folder's name.
        class_names: One name per class.
        train_images: uint8, [N, H, W] or [N, C, H, W].
        train_labels: Class of each training image, [N].
        test_images: uint8, shaped as `train_images`.
        test_labels: Class of each test image, [N].
    """

    name: str
    class_names: tuple[str, ...]
    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    test_images: NDArray[np.uint8]
    test_labels: NDArray[np.int64]

    def images_of(self, split: str) -> NDArray[np.uint8]:
        """Return the images that a split is taken from. Validation is taken from the training images."""
        return self.test_images if split == "test" else self.train_images


def find_folder(source: str | Path | None, subfolders: tuple[str, ...], first_file: str, needed: str) -> Path | None:
    """Find the folder of a source that holds a file, or the file with the ending ``.gz``.

    Args:
        source: Folder that the user names.
        subfolders: Sub-folders that are searched too, in this order.
        first_file: Name of the file.
        needed: Description of the source, for the error.

    Returns:
        The folder, or ``None`` if no folder holds the file.

    Raises:
        ConfigError: If no source is given.
    """
    if source is None:
        raise ConfigError(
            f"no source of images is given; expected {needed} in data_options.source. With "
            "data_options.download, that is the folder to download them into"
        )
    for folder in (Path(source), *(Path(source) / name for name in subfolders)):
        if any((folder / f"{first_file}{ending}").is_file() for ending in ("", ".gz")):
            return folder
    return None


def choose_images(
    labels: NDArray[np.int64], *, num_train: int | None, rng: np.random.Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Choose training and validation images, class by class.

    One image in five of each class is kept for validation. A smaller `num_train` takes fewer training images, and
    proportionally fewer validation images; the classes keep their shares. A larger `num_train` only adds images.

    Args:
        labels: Class of each original training image, [N]; images of class -1 are left out.
        num_train: Number of training images; ``None`` takes all.
        rng: Source of the randomness of the choice and the order.

    Returns:
        Indices of the training images and of the validation images, each in an order that mixes the classes.

    Raises:
        ConfigError: If there are fewer images than `num_train`, or `num_train` is less than the number of classes.
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
            f"num_train is {num_train}; expected from {len(pools)} (one image per class) to {most_train} (all that are "
            "not kept for validation)"
        )
    num_val = max(len(pools), round(num_train * most_val / most_train))
    return rng.permutation(_take_evenly(train_pools, num_train)), rng.permutation(_take_evenly(val_pools, num_val))


def _take_evenly(pools: list[NDArray[np.int64]], total: int) -> NDArray[np.int64]:
    """Take ``total`` entries from the fronts of all pools in the same proportion, at least one from each."""
    how_deep = np.concatenate([np.arange(len(pool)) / len(pool) for pool in pools])
    return np.concatenate(pools)[np.argsort(how_deep, kind="stable")[:total]]
