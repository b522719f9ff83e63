from pathlib import Path

import numpy as np
import pytest

from prusc.data.synthetic import cifar_binary
from prusc.data.synthetic.cifar_binary import CLASS_NAMES, read_batch, read_cifar10
from prusc.errors import ConfigError, DataError
from tests.data.synthetic.files import write_cifar_files


@pytest.mark.parametrize("subfolder", [".", "cifar-10-batches-bin"])
def test_files_are_found_and_read(tmp_path: Path, subfolder: str) -> None:
    write_cifar_files(tmp_path / subfolder, num_per_file=20)
    originals = read_cifar10(tmp_path)
    assert originals.name == "cifar-files"
    assert originals.class_names == CLASS_NAMES
    assert originals.train_images.shape == (100, 3, 32, 32)
    assert originals.test_images.shape == (20, 3, 32, 32)
    assert np.bincount(originals.train_labels).tolist() == [10] * 10


def test_a_record_is_label_then_red_green_and_blue_by_rows(tmp_path: Path) -> None:
    red, green, blue = (np.arange(1024) % 256).astype(np.uint8), np.full(1024, 5, np.uint8), np.full(1024, 9, np.uint8)
    path = tmp_path / "data_batch_1.bin"
    path.write_bytes(bytes([3]) + red.tobytes() + green.tobytes() + blue.tobytes())
    images, labels = read_batch(path)
    assert labels.tolist() == [3]
    assert images[0, 0, 1, :3].tolist() == [32, 33, 34]
    assert (images[0, 1] == 5).all()
    assert (images[0, 2] == 9).all()


def test_the_published_files_are_known_by_their_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_cifar_files(tmp_path, num_per_file=20)
    first = read_cifar10(tmp_path).train_labels[:10].tolist()
    monkeypatch.setattr(cifar_binary, "_PER_CLASS", 10)
    assert read_cifar10(tmp_path).name == "cifar-files"
    monkeypatch.setattr(cifar_binary, "_FIRST_LABELS", tuple(first))
    assert read_cifar10(tmp_path).name == "cifar10"


def test_the_source_has_to_be_given() -> None:
    with pytest.raises(ConfigError, match="expected a folder with the binary version of CIFAR-10"):
        read_cifar10(None)


def test_a_source_without_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no data_batch_1\.bin; expected the binary version"):
        read_cifar10(tmp_path)
    with pytest.raises(DataError, match="nowhere is not a folder, so it holds no data_batch"):
        read_cifar10(tmp_path / "nowhere")


def test_the_pickled_version_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "cifar-10-batches-py").mkdir()
    with pytest.raises(
        DataError, match=r"it holds the Python version, which is made of pickles .*; expected the binary version"
    ):
        read_cifar10(tmp_path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    write_cifar_files(tmp_path, num_per_file=20)
    (tmp_path / "data_batch_4.bin").unlink()
    with pytest.raises(DataError, match=r"data_batch_4\.bin cannot be read"):
        read_cifar10(tmp_path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes; expected 3073 per image"),
        (bytes(3074), "has 3074 bytes"),
        (bytes(3073) + bytes([10]) + bytes(3072), "image 1 has the label 10; expected 0 to 9"),
    ],
)
def test_a_broken_file_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "test_batch.bin"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_batch(path)


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    write_cifar_files(tmp_path, num_per_file=20)
    (tmp_path / "test_batch.bin").write_bytes(bytes(3073))
    with pytest.raises(DataError, match=r"test_batch\.bin in .* no image of label 1"):
        read_cifar10(tmp_path)


def test_a_download_goes_into_the_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        cifar_binary,
        "download_cifar10",
        lambda folder: write_cifar_files(folder / "cifar-10-batches-bin", num_per_file=20),
    )
    assert len(read_cifar10(tmp_path, download=True).train_labels) == 100
