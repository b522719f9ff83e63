"""Two versions of ColoredMNIST: ten digits with ten colours (LfF, DCWP), and two classes with two colours (IRM)."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prusc.data.synthetic.composition import compose_splits, make_data, make_split, spawn_generators
from prusc.data.synthetic.idx_files import read_mnist
from prusc.data.synthetic.originals import choose_images
from prusc.data.synthetic.shares import check_share, flip_share
from prusc.data.table import SPLIT_NAMES, Data

COLOURS = {
    "red": (0.90, 0.10, 0.10),
    "green": (0.10, 0.75, 0.20),
    "blue": (0.15, 0.25, 0.95),
    "yellow": (0.95, 0.90, 0.10),
    "magenta": (0.90, 0.15, 0.85),
    "cyan": (0.10, 0.85, 0.90),
    "orange": (0.95, 0.50, 0.05),
    "purple": (0.45, 0.10, 0.70),
    "brown": (0.50, 0.28, 0.10),
    "white": (0.90, 0.90, 0.90),
}
"""Mean colour of each digit, as intensities in ``[0, 1]``. The one at the index of a digit agrees with it."""

# Standard deviation of each channel of an image's colour: LfF's severity 4.
_COLOUR_DEVIATION = 0.005

_TRAIN_FLIPS = (0.2, 0.1)
_TEST_FLIP = 0.9
_IRM_COLOURS = {"green": 1, "red": 0}  # Name and channel; the one at the index of a class agrees with it.


def load_colored_mnist(
    *,
    source: str | Path | None = None,
    download: bool = False,
    conflict_share: float = 0.05,
    num_train: int | None = None,
    seed: int = 0,
) -> Data:
    """Compose ColoredMNIST with ten digits: most samples of a digit have the digit's own colour.

    Args:
        source: Folder of the original images; see `prusc.data.synthetic.idx_files.read_mnist`.
        download: Download MNIST into the folder if it is missing.
        conflict_share: Share of the train and val samples of each class in another class's colour. The published shares
            are 0.005, 0.01, 0.02 and 0.05; 0.9 makes class and colour independent.
        num_train: Number of training images; ``None`` takes all that are not kept for validation.
        seed: Seed of the choice of images, of the colours and of the order.

    Returns:
        Inputs uint8 [N, 3, 28, 28]; attribute ``colour``. In test, each class has the same number of samples of each
        colour.

    Raises:
        ConfigError: If an argument is out of range or no source is given.
        DataError: If the original images cannot be read.

    References:
        Nam et al. 2020, arXiv:2007.02561 (LfF); Park et al. 2023, arXiv:2210.05247 (DCWP).
    """
    most = 1 - 1 / len(COLOURS)
    check_share("conflict_share", conflict_share, most, "class and colour independent")
    originals = read_mnist(source, download=download)

    def paint(
        split: str, chosen: NDArray[np.int64], attributes: NDArray[np.int64], rng: np.random.Generator
    ) -> NDArray[np.uint8]:
        colours = np.array(list(COLOURS.values()))[attributes]
        return tint(
            originals.images_of(split)[chosen], colours + _COLOUR_DEVIATION * rng.standard_normal(colours.shape)
        )

    splits = compose_splits(
        originals.train_labels,
        originals.test_labels,
        paint,
        num_values=len(COLOURS),
        conflict_share=conflict_share,
        num_train=num_train,
        seed=seed,
    )
    return make_data(
        "colored-mnist",
        splits,
        name=f"colored-{originals.name}",
        originals=originals.name,
        class_names=originals.class_names,
        attribute="colour",
        values=tuple(COLOURS),
        conflict_share=conflict_share,
        seed=seed,
    )


def load_colored_mnist_irm(
    *,
    source: str | Path | None = None,
    download: bool = False,
    label_noise: float = 0.25,
    num_train: int | None = None,
    seed: int = 0,
) -> Data:
    """Compose ColoredMNIST with two classes, wrong labels, and a colour that predicts the class until the test.

    The true class states whether the digit is at least 5. A share of the samples gets the other class as its label.
    Half of the training samples (the first environment) contradict their label's colour in one of five cases, the other
    half in one of ten. Both environments form one split, and validation is made in the same way. In test, nine of ten
    samples have the other class's colour.

    Args:
        source: Folder of the original images; see `prusc.data.synthetic.idx_files.read_mnist`.
        download: Download MNIST into the folder if it is missing.
        label_noise: Share of the samples of each true class that get the other label, in every split.
        num_train: Number of training images; ``None`` takes all that are not kept for validation.
        seed: Seed of the choice of images, of the labels, of the colours and of the order.

    Returns:
        Inputs uint8 [N, 3, 28, 28]; attribute ``colour``.

    Raises:
        ConfigError: If an argument is out of range or no source is given.
        DataError: If the original images cannot be read.

    References:
        Arjovsky et al. 2019, arXiv:1907.02893, section 5.2.
    """
    check_share("label_noise", label_noise, 0.5, "labels that say nothing")
    originals = read_mnist(source, download=download)
    choice_rng, *split_rngs = spawn_generators(seed)
    train, val = choose_images(originals.train_labels, num_train=num_train, rng=choice_rng)
    test = choice_rng.spawn(1)[0].permutation(len(originals.test_labels))
    splits = {}
    for name, chosen, rng in zip(SPLIT_NAMES, (train, val, test), split_rngs, strict=True):
        label_rng, colour_rng = rng.spawn(2)
        digits = (originals.test_labels if name == "test" else originals.train_labels)[chosen]
        true_labels = (digits >= 5).astype(np.int64)
        labels = flip_share(true_labels, label_noise, true_labels, label_rng)
        colours = _flip_colours(labels, (_TEST_FLIP,) if name == "test" else _TRAIN_FLIPS, colour_rng)
        channels = np.eye(3)[list(_IRM_COLOURS.values())]
        inputs = tint(originals.images_of(name)[chosen], channels[colours])
        splits[name] = make_split(name, chosen, inputs, labels, colours)
    names = originals.class_names
    return make_data(
        "colored-mnist-irm",
        splits,
        name=f"colored-{originals.name}-irm",
        originals=originals.name,
        class_names=(f"{names[0]} to {names[4]}", f"{names[5]} to {names[9]}"),
        attribute="colour",
        values=tuple(_IRM_COLOURS),
        label_noise=label_noise,
        train_flips=list(_TRAIN_FLIPS),
        test_flip=_TEST_FLIP,
        seed=seed,
    )


def _flip_colours(labels: NDArray[np.int64], flips: tuple[float, ...], rng: np.random.Generator) -> NDArray[np.int64]:
    """Give each sample its class's colour, or the other one for its environment's share. Environments alternate."""
    environments = np.arange(len(labels)) % len(flips)
    colours = labels.copy()
    for environment, flip in enumerate(flips):
        rows = np.flatnonzero(environments == environment)
        colours[rows] = flip_share(colours[rows], flip, labels[rows], rng)
    return colours


def tint(images: NDArray[np.uint8], colours: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Colour grey images; black stays black.

    Args:
        images: uint8, [N, H, W].
        colours: Colour that white becomes, [N, 3]; clipped to ``[0, 1]``.

    Returns:
        uint8, [N, 3, H, W].
    """
    weights = np.clip(colours, 0, 1).astype(np.float32)
    tinted = np.empty((len(images), 3, *images.shape[1:]), dtype=np.uint8)
    for channel in range(3):
        tinted[:, channel] = np.rint(images * weights[:, channel, None, None])
    return tinted
