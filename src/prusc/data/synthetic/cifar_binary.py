"""CIFAR-10 in its binary version. prusc does not open the Python version, which is made of pickles."""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prusc.data.synthetic.downloads import download_cifar10
from prusc.data.synthetic.originals import Originals, find_folder
from prusc.errors import DataError

IMAGE_SIZE = 32
CLASS_NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_TRAIN_FILES = tuple(f"data_batch_{number}.bin" for number in range(1, 6))
_TEST_FILE = "test_batch.bin"
_FOLDER = "cifar-10-batches-bin"
_PICKLES = ("data_batch_1", "cifar-10-batches-py")
# The published files hold 5,000 training images per class and start with these labels.
_PER_CLASS = 5_000
_FIRST_LABELS = (6, 9, 9, 4, 1, 1, 2, 7, 8, 3)
_RECORD_SIZE = 1 + 3 * IMAGE_SIZE**2


def read_cifar10(source: str | Path | None, *, download: bool = False) -> Originals:
    """Read the binary version of CIFAR-10 from a folder.

    Args:
        source: Folder with ``data_batch_1.bin`` to ``data_batch_5.bin`` and ``test_batch.bin``, or the folder that
            ``cifar-10-binary.tar.gz`` was unpacked in.
        download: Download the files into the folder if they are missing.

    Returns:
        Images [N, 3, 32, 32]. Their name is ``cifar10`` if the training labels are the published ones, else
        ``cifar-files``.

    Raises:
        ConfigError: If no source is given.
        DataError: If files are missing or damaged.
    """
    needed = f"a folder with the binary version of CIFAR-10 ({_TRAIN_FILES[0]})"
    folder = find_folder(source, (_FOLDER,), _TRAIN_FILES[0], needed)
    if folder is None and download:
        download_cifar10(Path(str(source)))
        folder = find_folder(source, (_FOLDER,), _TRAIN_FILES[0], needed)
    if folder is None:
        pickled = any((Path(str(source)) / name).exists() for name in _PICKLES)
        reason = "; it holds the Python version, which is made of pickles that run code when read" if pickled else ""
        what = "holds no" if Path(str(source)).is_dir() else "is not a folder, so it holds no"
        raise DataError(
            f"{source} {what} {_TRAIN_FILES[0]}{reason}; expected the binary version of CIFAR-10, "
            f"cifar-10-binary.tar.gz unpacked, in it or in {_FOLDER} (data_options.download fetches it)"
        )
    batches = [read_batch(folder / name) for name in _TRAIN_FILES]
    train_images = np.concatenate([images for images, _ in batches])
    train_labels = np.concatenate([labels for _, labels in batches])
    test_images, test_labels = read_batch(folder / _TEST_FILE)
    for labels, what in ((train_labels, "training files"), (test_labels, _TEST_FILE)):
        missing = sorted(set(range(len(CLASS_NAMES))) - set(labels.tolist()))
        if missing:
            raise DataError(f"the {what} in {folder} hold no image of label {missing[0]}; expected each of 0 to 9")
    begins_right = tuple(train_labels[: len(_FIRST_LABELS)].tolist()) == _FIRST_LABELS
    is_published = begins_right and (np.bincount(train_labels) == _PER_CLASS).all()
    name = "cifar10" if is_published else "cifar-files"
    return Originals(name, CLASS_NAMES, train_images, train_labels, test_images, test_labels)


def read_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read one file: per image one byte for the label, then 1,024 bytes each of red, green and blue.

    Args:
        path: The file.

    Returns:
        Images [N, 3, 32, 32] and labels [N].

    Raises:
        DataError: If the file cannot be read, is not such a file or has labels other than 0 to 9.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}); expected a file of CIFAR-10's binary version") from error
    if not content or len(content) % _RECORD_SIZE:
        raise DataError(
            f"{path} has {len(content)} bytes; expected {_RECORD_SIZE} per image, as in CIFAR-10's binary version: "
            "download it again"
        )
    records = np.frombuffer(content, dtype=np.uint8).reshape(-1, _RECORD_SIZE)
    labels = records[:, 0].astype(np.int64)
    if labels.max() >= len(CLASS_NAMES):
        row = int(np.flatnonzero(labels >= len(CLASS_NAMES))[0])
        raise DataError(f"{path}: image {row} has the label {labels[row]}; expected 0 to 9")
    return records[:, 1:].reshape(-1, 3, IMAGE_SIZE, IMAGE_SIZE), labels
