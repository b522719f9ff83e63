"""Dominoes: a digit, which is easy to learn, above a photograph, which determines the class."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prusc.data.synthetic.cifar_binary import CLASS_NAMES, IMAGE_SIZE, read_cifar10
from prusc.data.synthetic.composition import compose_splits, make_data, spawn_generators
from prusc.data.synthetic.idx_files import read_mnist
from prusc.data.synthetic.originals import Originals, choose_images
from prusc.data.synthetic.shares import check_share
from prusc.data.table import Data
from prusc.errors import ConfigError

# Classes of CIFAR-10 by the number of classes. The digit at the index of a class agrees with it.
_CLASSES = {2: ("automobile", "truck"), 10: CLASS_NAMES}


def load_dominoes(
    *,
    source: str | Path | None = None,
    cifar_source: str | Path | None = None,
    download: bool = False,
    num_classes: int = 2,
    conflict_share: float = 0.05,
    num_train: int | None = None,
    seed: int = 0,
) -> Data:
    """Compose dominoes: MNIST above CIFAR-10, where most digits agree with the class of the photograph.

    Two classes are automobile (digit 0) and truck (digit 1). Ten classes are those of CIFAR-10, in their order.

    Args:
        source: Folder of MNIST, and of CIFAR-10 if `cifar_source` is not given.
        cifar_source: Folder of CIFAR-10.
        download: Download missing files.
        num_classes: Number of classes, 2 or 10.
        conflict_share: Share of the train and val samples of each class with another class's digit. The published share
            is 0; 0.5 (two classes) or 0.9 (ten classes) makes class and digit independent.
        num_train: Number of training images; ``None`` takes all that are not kept for validation.
        seed: Seed of the choice of images, of the pairs of digit and photograph, and of the order.

    Returns:
        Inputs uint8 [N, 3, 64, 32]; attribute ``upper``. In test, each class has the same number of samples of each
        digit.

    Raises:
        ConfigError: If an argument is out of range or no source is given.
        DataError: If the original images cannot be read.

    References:
        Shah et al. 2020, arXiv:2006.07710.
    """
    if num_classes not in _CLASSES:
        raise ConfigError(f"num_classes is {num_classes}; expected one of {', '.join(map(str, _CLASSES))}")
    check_share("conflict_share", conflict_share, 1 - 1 / num_classes, "class and digit independent")
    uppers = read_mnist(source, download=download)
    lowers = read_cifar10(source if cifar_source is None else cifar_source, download=download)
    class_names = _CLASSES[num_classes]
    renumbered = np.full(len(CLASS_NAMES), -1, dtype=np.int64)
    renumbered[[CLASS_NAMES.index(name) for name in class_names]] = np.arange(num_classes)
    pools = _pool_uppers(uppers, num_classes, spawn_generators(seed)[0].spawn(2)[1])

    def paint(
        split: str, chosen: NDArray[np.int64], attributes: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        picked = np.empty(len(chosen), dtype=np.int64)
        for value in range(num_classes):
            rows = np.flatnonzero(attributes == value)
            picked[rows] = np.resize(rng.permutation(pools[split][value]), len(rows))
        return stack_images(uppers.images_of(split)[picked], lowers.images_of(split)[chosen])

    splits = compose_splits(
        renumbered[lowers.train_labels],
        renumbered[lowers.test_labels],
        paint,
        num_values=num_classes,
        conflict_share=conflict_share,
        num_train=num_train,
        seed=seed,
    )
    return make_data(
        "dominoes",
        splits,
        name=f"dominoes-{uppers.name}-{lowers.name}",
        originals=f"{uppers.name} above {lowers.name}",
        class_names=class_names,
        attribute="upper",
        values=uppers.class_names[:num_classes],
        conflict_share=conflict_share,
        seed=seed,
    )


def stack_images(uppers: NDArray[np.uint8], lowers: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Stack grey images with a black margin above colour images.

    Args:
        uppers: uint8, [N, 28, 28].
        lowers: uint8, [N, 3, 32, 32].

    Returns:
        uint8, [N, 3, 64, 32].
    """
    margin = (IMAGE_SIZE - uppers.shape[1]) // 2
    framed = np.pad(uppers, ((0, 0), (margin, margin), (margin, margin)))
    return np.concatenate([np.repeat(framed[:, None], 3, axis=1), lowers], axis=2)


def _pool_uppers(uppers: Originals, num_values: int, rng: np.random.Generator) -> dict[str, list[NDArray[np.int64]]]:
    """List the images of each digit for each split. No digit image and no photograph is in two splits."""
    train, val = choose_images(uppers.train_labels, num_train=None, rng=rng)
    test = np.arange(len(uppers.test_labels))
    labels = {"train": uppers.train_labels, "val": uppers.train_labels, "test": uppers.test_labels}
    return {
        split: [indices[labels[split][indices] == value] for value in range(num_values)]
        for split, indices in (("train", train), ("val", val), ("test", test))
    }
