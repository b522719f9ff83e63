import gzip
from pathlib import Path

import numpy as np
import pytest

from prusc.data.synthetic import idx_files
from prusc.data.synthetic.idx_files import read_idx, read_mnist
from prusc.errors import ConfigError, DataError
from tests.data.synthetic.files import idx_bytes, write_idx_files

TRAIN_IMAGES = "train-images-idx3-ubyte.gz"


@pytest.mark.parametrize("compress", [True, False])
@pytest.mark.parametrize("subfolder", [".", "MNIST/raw", "FashionMNIST/raw"])
def test_files_are_found_and_read(tmp_path: Path, compress: bool, subfolder: str) -> None:
    write_idx_files(tmp_path / subfolder, num_train=50, num_test=20, compress=compress)
    originals = read_mnist(tmp_path)
    assert originals.name == "idx-files"
    assert originals.class_names == tuple("0123456789")
    assert originals.train_images.shape == (50, 28, 28)
    assert originals.test_images.shape == (20, 28, 28)
    assert (originals.train_images[:, 12, 12] == 55 + 20 * originals.train_labels).all()
    assert originals.train_images[:, 20, 20].tolist() == list(range(1, 51))
    assert originals.images_of("val") is originals.train_images
    assert originals.images_of("test") is originals.test_images


def test_what_the_images_are_is_told_by_their_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_idx_files(tmp_path, num_train=50, num_test=20)
    monkeypatch.setattr(idx_files, "_MNIST_COUNTS", (5,) * 10)
    assert read_mnist(tmp_path).name == "mnist"
    assert sum(idx_files._MNIST_COUNTS) == 50


def test_the_counts_of_mnist_add_up() -> None:
    assert sum(idx_files._MNIST_COUNTS) == 60_000


def test_the_source_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match=r"expected a folder with MNIST's or Fashion-MNIST's files .* data_options"):
        read_mnist(None)


def test_a_source_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no train-images-idx3-ubyte .*; expected the four files of MNIST"):
        read_mnist(tmp_path)
    with pytest.raises(DataError, match="nowhere is not a folder, so it holds no train-images"):
        read_mnist(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    write_idx_files(tmp_path, num_train=50, num_test=20)
    (tmp_path / f"{name}.gz").unlink()
    with pytest.raises(DataError, match=f"holds no {name}"):
        read_mnist(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"starts with the bytes \(none\); expected 00 00 08 03"),
        (b"not an idx file, long enough", "starts with the bytes 6e 6f 74 20"),
        (idx_bytes(np.zeros((2, 28, 28), dtype=np.uint8))[:-1], "2 entries, 1568 bytes, but is shorter"),
        (idx_bytes(np.zeros((2, 28, 28), dtype=np.uint8)) + b"0", "1568 bytes, but is longer"),
        (idx_bytes(np.zeros((2, 32, 32), dtype=np.uint8)), r"entries of shape \(32, 32\); expected \(28, 28\)"),
        (idx_bytes(np.zeros(2, dtype=np.uint8)) + bytes(20), "expected 00 00 08 03"),
        (b"\x00\x00\x08\x03" + b"\xff" * 4 + b"\x00\x00\x00\x1c" * 2, "but is shorter"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    for path, written in ((tmp_path / "images", content), (tmp_path / "images.gz", gzip.compress(content))):
        path.write_bytes(written)
        with pytest.raises(DataError, match=message):
            read_idx(path, (28, 28))


@pytest.mark.parametrize("damage", [lambda content: content[:-20], lambda content: b"no gzip" + content])
def test_a_broken_compression_is_refused(tmp_path: Path, damage: object) -> None:
    write_idx_files(tmp_path, num_train=50, num_test=20)
    path = tmp_path / TRAIN_IMAGES
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(DataError, match=f"{TRAIN_IMAGES} cannot be read"):
        read_mnist(tmp_path)


def test_images_and_labels_have_to_match(tmp_path: Path) -> None:
    write_idx_files(tmp_path, num_train=50, num_test=20)
    path = tmp_path / "train-labels-idx1-ubyte.gz"
    path.write_bytes(gzip.compress(idx_bytes(np.arange(49, dtype=np.uint8) % 10)))
    with pytest.raises(DataError, match=r"50 images and .* 49 labels"):
        read_mnist(tmp_path)
    path.write_bytes(gzip.compress(idx_bytes(np.arange(50, dtype=np.uint8) % 11)))
    with pytest.raises(DataError, match="expected each of 0 to 9"):
        read_mnist(tmp_path)


def test_a_download_goes_into_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def download(folder: Path) -> None:
        asked.append(folder)
        write_idx_files(folder / "MNIST" / "raw", num_train=50, num_test=20)

    monkeypatch.setattr(idx_files, "download_mnist", download)
    assert len(read_mnist(tmp_path, download=True).train_labels) == 50
    read_mnist(tmp_path, download=True)
    assert asked == [tmp_path]
