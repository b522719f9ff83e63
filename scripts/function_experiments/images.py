"""Images for class removal and transfer: MNIST and what has its format, CIFAR-10, and a permutation of pixels."""

import os
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prusc.data.synthetic.cifar_binary import read_cifar10
from prusc.data.synthetic.idx_files import read_mnist
from prusc.data.synthetic.originals import Originals
from prusc.errors import DataError
from prusc.stages.modularity import Examples

FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Folder of Debian's package ``dataset-fashion-mnist``."""


def find_images(name: str, source: Path | None) -> Path:
    """Return the folder of the original files: the source, else one below ``PRUSC_DATA``, else that of the package.

    Raises:
        DataError: If there is none.
    """
    if source is not None:
        return source
    folders = [Path(os.environ["PRUSC_DATA"]) / name] if "PRUSC_DATA" in os.environ else []
    folders += [FASHION_MNIST] if name == "fashion-mnist" else []
    for folder in folders:
        if folder.is_dir():
            return folder
    looked = f" ({', '.join(map(str, folders))} does not exist)" if folders else ""
    package = ", or install Debian's package dataset-fashion-mnist" if name == "fashion-mnist" else ""
    raise DataError(
        f"no folder of {name} was found{looked}; name it with --source, or put it into the folder {name} of the folder "
        f"that the variable PRUSC_DATA names{package}"
    )


def read_images(name: str, source: Path | None) -> tuple[Examples, Examples, tuple[str, ...]]:
    """Return training and test images, normalised, and the names of the classes.

    Args:
        name: ``mnist``, ``fashion-mnist`` or ``cifar10``.
        source: Folder of the original files; `find_images` looks for it if ``None``.

    Raises:
        PruscError: If the files are missing or damaged, or hold other images than the name says.
    """
    source = find_images(name, source)
    found: Originals = read_cifar10(source) if name == "cifar10" else read_mnist(source)
    train = Examples(_normalise(found.train_images), torch.from_numpy(found.train_labels).long())
    test = Examples(_normalise(found.test_images), torch.from_numpy(found.test_labels).long())
    return train, test, tuple(found.class_names)


def _normalise(images: NDArray[np.uint8]) -> Tensor:
    """Return floats [N, C, H, W] in [-1, 1]; grey images get one channel."""
    values = torch.from_numpy(images).float().div_(127.5).sub_(1)
    return values[:, None] if values.ndim == 3 else values


def permute_pixels(data: Examples, seed: int) -> Examples:
    """Return the images with their pixels in another order, as vectors; seed 0 keeps the order."""
    assert isinstance(data.inputs, Tensor)
    flat = data.inputs.flatten(1)
    order = torch.arange(flat.shape[1])
    if seed:
        order = torch.randperm(flat.shape[1], generator=torch.Generator().manual_seed(seed))
    return Examples(flat[:, order], data.labels)


def take_few(data: Examples, num_samples: int, seed: int = 0) -> Examples:
    """Return a random part of the samples; all of them for 0 or more than there are."""
    if not 0 < num_samples < len(data):
        return data
    return data.subset(torch.randperm(len(data), generator=torch.Generator().manual_seed(seed))[:num_samples])
