"""Small files in the formats of MNIST and CIFAR-10."""

import gzip
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prusc.data.table import Split

_NAMES = {"train": "train", "test": "t10k"}


def idx_bytes(values: NDArray[np.uint8]) -> bytes:
    return bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


def write_idx_files(folder: Path, *, num_train: int = 600, num_test: int = 200, compress: bool = True) -> Path:
    """As many images of each of ten labels, with a grey square of its own, and each image's number in two pixels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    for split, number in (("train", num_train), ("test", num_test)):
        labels = rng.permutation(np.arange(number) % 10).astype(np.uint8)
        images = np.zeros((number, 28, 28), dtype=np.uint8)
        images[:, 10:18, 10:18] = 55 + 20 * labels[:, None, None]
        images[:, 20, 20] = 1 + np.arange(number) % 255
        images[:, 20, 21] = 1 + np.arange(number) // 255
        for name, values in (("images-idx3", images), ("labels-idx1", labels)):
            content = idx_bytes(values)
            path = folder / f"{_NAMES[split]}-{name}-ubyte{'.gz' if compress else ''}"
            path.write_bytes(gzip.compress(content, 1) if compress else content)
    return folder


def write_cifar_files(folder: Path, *, num_per_file: int = 120) -> Path:
    """Five training files and one for test, of noise whose mean is the label's."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(8)
    for name in (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin"):
        labels = rng.permutation(np.arange(num_per_file) % 10).astype(np.uint8)
        pixels = rng.integers(0, 100, (num_per_file, 3072)).astype(np.uint8) + 10 * labels[:, None]
        (folder / name).write_bytes(np.concatenate([labels[:, None], pixels], axis=1).astype(np.uint8).tobytes())
    return folder


def group_counts(split: Split, num_classes: int, num_values: int) -> NDArray[np.int64]:
    """Samples of each class (row) and attribute value (column)."""
    counts = np.zeros((num_classes, num_values), dtype=int)
    for label, value in zip(split.labels.tolist(), split.attributes[:, 0].tolist(), strict=True):
        counts[label, value] += 1
    return counts
