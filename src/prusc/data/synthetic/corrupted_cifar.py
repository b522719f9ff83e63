"""Corrupted CIFAR-10, in which each class has its own kind of corruption."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prusc.data.synthetic.cifar_binary import read_cifar10
from prusc.data.synthetic.composition import compose_splits, make_data
from prusc.data.synthetic.corruptions import CORRUPTIONS, corrupt_images
from prusc.data.synthetic.shares import check_share
from prusc.data.table import Data


def load_corrupted_cifar10(
    *,
    source: str | Path | None = None,
    download: bool = False,
    conflict_share: float = 0.05,
    num_train: int | None = None,
    seed: int = 0,
) -> Data:
    """Compose corrupted CIFAR-10: most samples of a class have the class's own corruption.

    Args:
        source: Folder of the original images; see `prusc.data.synthetic.cifar_binary.read_cifar10`.
        download: Download CIFAR-10 into the folder if it is missing.
        conflict_share: Share of the train and val samples of each class with another class's corruption. The published
            shares are 0.005, 0.01, 0.02 and 0.05; 0.9 makes class and corruption independent.
        num_train: Number of training images; ``None`` takes all that are not kept for validation.
        seed: Seed of the choice of images, of the corruptions and of the order.

    Returns:
        Inputs uint8 [N, 3, 32, 32]; attribute ``corruption``. In test, each class has the same number of samples of
        each corruption.

    Raises:
        ConfigError: If an argument is out of range or no source is given.
        DataError: If the original images cannot be read.

    References:
        Nam et al. 2020, arXiv:2007.02561 (LfF); Park et al. 2023, arXiv:2210.05247 (DCWP); Hendrycks and Dietterich
        2019, arXiv:1903.12261 (the corruptions).
    """
    most = 1 - 1 / len(CORRUPTIONS)
    check_share("conflict_share", conflict_share, most, "class and corruption independent")
    originals = read_cifar10(source, download=download)

    def paint(
        split: str, chosen: NDArray[np.int64], attributes: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        inputs = originals.images_of(split)[chosen]
        for value, (name, own_rng) in enumerate(zip(CORRUPTIONS, rng.spawn(len(CORRUPTIONS)), strict=True)):
            rows = np.flatnonzero(attributes == value)
            inputs[rows] = corrupt_images(inputs[rows], name, own_rng)
        return inputs

    splits = compose_splits(
        originals.train_labels,
        originals.test_labels,
        paint,
        num_values=len(CORRUPTIONS),
        conflict_share=conflict_share,
        num_train=num_train,
        seed=seed,
    )
    return make_data(
        "corrupted-cifar10",
        splits,
        name=f"corrupted-{originals.name}",
        originals=originals.name,
        class_names=originals.class_names,
        attribute="corruption",
        values=tuple(CORRUPTIONS),
        conflict_share=conflict_share,
        seed=seed,
    )
