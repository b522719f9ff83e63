"""Images in the idx format of MNIST. Fashion-MNIST has the same format, so it can replace MNIST."""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prusc.data.synthetic.downloads import download_mnist
from prusc.data.synthetic.originals import Originals, find_folder
from prusc.errors import DataError

IMAGE_SIZE = 28

_FILES = {
    "train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
    "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
}
_SUBFOLDERS = ("MNIST/raw", "FashionMNIST/raw", "mnist", "fashion-mnist")
_NUM_CLASSES = 10
_UNSIGNED_BYTE = 8
_PIECE_SIZE = 2**24

# Number of training images of each digit in MNIST.
_MNIST_COUNTS = (5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949)
# SHA-256 of the training labels of Fashion-MNIST, one byte per label.
_FASHION_LABELS = "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7"
_DIGIT_NAMES = tuple(map(str, range(_NUM_CLASSES)))
_GARMENT_NAMES = ("tshirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")


def read_mnist(source: str | Path | None, *, download: bool = False) -> Originals:
    """Read MNIST, or another data set in its format, from a folder.

    Args:
        source: Folder with ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
            ``t10k-labels-idx1-ubyte``, optionally with the ending ``.gz``; or a folder that torchvision downloaded to.
        download: Download MNIST into the folder if the files are missing.

    Returns:
        Images [N, 28, 28]. Their name is ``mnist``, ``fashion-mnist`` or, for other images, ``idx-files``.

    Raises:
        ConfigError: If no source is given.
        DataError: If files are missing, damaged, or longer or shorter than they declare.
    """
    first, needed = _FILES["train"][0], "a folder with MNIST's or Fashion-MNIST's files (train-images-idx3-ubyte.gz)"
    folder = find_folder(source, _SUBFOLDERS, first, needed)
    if folder is None and download:
        download_mnist(Path(str(source)))
        folder = find_folder(source, _SUBFOLDERS, first, needed)
    if folder is None:
        what = "holds no" if Path(str(source)).is_dir() else "is not a folder, so it holds no"
        raise DataError(
            f"{source} {what} {first} or {first}.gz; expected the four files of MNIST or Fashion-MNIST in it or in "
            f"{', '.join(_SUBFOLDERS)} (data_options.download fetches MNIST)"
        )
    (train_images, train_labels), (test_images, test_labels) = (_read_split(folder, split) for split in _FILES)
    name, class_names = _identify(train_labels)
    return Originals(name, class_names, train_images, train_labels, test_images, test_labels)


def read_idx(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Read one file of unsigned bytes.

    Args:
        path: The file; compressed if it ends in ``.gz``.
        shape: Shape of each entry, such as (28, 28) for images and () for labels.

    Returns:
        The entries, [N, *shape].

    Raises:
        DataError: If the file cannot be read, is not such a file, or is longer or shorter than it declares.
    """
    num_dimensions = 1 + len(shape)
    header_size = 4 + 4 * num_dimensions
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(header_size)
            if len(header) < header_size or header[:4] != bytes((0, 0, _UNSIGNED_BYTE, num_dimensions)):
                raise DataError(
                    f"{path} starts with the bytes {header[:4].hex(' ') or '(none)'}; expected "
                    f"00 00 08 {num_dimensions:02x}, an idx file of bytes in {num_dimensions} dimensions"
                )
            found = struct.unpack(f">{num_dimensions}I", header[4:])
            if found[1:] != shape:
                raise DataError(f"{path} holds entries of shape {found[1:]}; expected {shape}")
            size = found[0] * int(np.prod(shape))
            # In pieces, because a damaged header may declare more than fits into memory.
            content = bytearray()
            while len(content) <= size and (piece := file.read(min(_PIECE_SIZE, size + 1 - len(content)))):
                content += piece
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read ({error}); expected a complete idx file: download it again") from error
    if len(content) != size:
        relation = "longer" if len(content) > size else "shorter"
        raise DataError(
            f"{path} declares {found[0]} entries, {size} bytes, but is {relation}; expected a complete idx file: "
            "download it again"
        )
    return np.frombuffer(content, dtype=np.uint8).reshape(found)


def _read_split(folder: Path, split: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    paths = []
    for name in _FILES[split]:
        candidates = [folder / name, folder / f"{name}.gz"]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            raise DataError(
                f"{folder} holds no {name} or {name}.gz, but other files of MNIST's format; add this file too"
            )
        paths.append(path)
    images, labels = read_idx(paths[0], (IMAGE_SIZE, IMAGE_SIZE)), read_idx(paths[1], ())
    if len(images) != len(labels):
        raise DataError(
            f"{paths[0]} holds {len(images)} images and {paths[1]} {len(labels)} labels; expected equal numbers"
        )
    present = np.bincount(labels, minlength=_NUM_CLASSES)
    if len(present) > _NUM_CLASSES or not present.all():
        raise DataError(f"{paths[1]} holds the labels {np.unique(labels).tolist()}; expected each of 0 to 9")
    return images, labels.astype(np.int64)


def _identify(labels: NDArray[np.int64]) -> tuple[str, tuple[str, ...]]:
    """Identify the images by their training labels."""
    if tuple(np.bincount(labels).tolist()) == _MNIST_COUNTS:
        return "mnist", _DIGIT_NAMES
    if hashlib.sha256(labels.astype(np.uint8).tobytes()).hexdigest() == _FASHION_LABELS:
        return "fashion-mnist", _GARMENT_NAMES
    return "idx-files", _DIGIT_NAMES
