from pathlib import Path

import numpy as np
import pytest

from prusc.data.synthetic.cifar_binary import read_cifar10
from prusc.data.synthetic.dominoes import load_dominoes, stack_images
from prusc.data.synthetic.idx_files import read_mnist
from prusc.data.table import Split
from prusc.errors import ConfigError, DataError
from tests.data.synthetic.files import group_counts, write_cifar_files, write_idx_files


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx_files(tmp_path_factory.mktemp("digits"), num_train=900, num_test=200)


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cifar_files(tmp_path_factory.mktemp("photographs"))


def upper_numbers(split: Split) -> list[int]:
    """Which images of the original file lie above, read off the pixels in which it keeps its number."""
    return (split.inputs[:, 0, 22, 22].long() - 1 + 255 * (split.inputs[:, 0, 22, 23].long() - 1)).tolist()


@pytest.mark.parametrize("num_classes", [2, 10])
def test_the_digit_lies_above_and_the_photograph_below(digits: Path, photographs: Path, num_classes: int) -> None:
    data = load_dominoes(source=digits, cifar_source=photographs, num_classes=num_classes)
    uppers, lowers = read_mnist(digits), read_cifar10(photographs)
    classes = [1, 9] if num_classes == 2 else list(range(10))
    assert data.class_names == tuple(lowers.class_names[number] for number in classes)
    assert data.attribute_values[0] == tuple("0123456789"[:num_classes])
    for name, split in data.splits.items():
        rows = [int(sample_id.split("-")[1]) for sample_id in split.sample_ids]
        above, below = split.inputs[:, :, :32].numpy(), split.inputs[:, :, 32:].numpy()
        assert (below == lowers.images_of(name)[rows]).all()
        numbers = upper_numbers(split)
        assert (above[:, :, 2:30, 2:30] == uppers.images_of(name)[numbers][:, None]).all()
        assert not above[:, :, :2].any()
        assert not above[:, :, :, 30:].any()
        upper_labels = (uppers.test_labels if name == "test" else uppers.train_labels)[numbers]
        lower_labels = (lowers.test_labels if name == "test" else lowers.train_labels)[rows]
        assert upper_labels.tolist() == split.attributes[:, 0].tolist()
        assert lower_labels.tolist() == [classes[label] for label in split.labels.tolist()]


def test_no_digit_image_is_in_train_and_val_and_none_twice_without_need(digits: Path, photographs: Path) -> None:
    data = load_dominoes(source=digits, cifar_source=photographs, num_classes=10)
    train, val = upper_numbers(data.train), upper_numbers(data.val)
    assert not set(train) & set(val)
    assert len(set(train)) == len(train) == 480


def test_digit_images_are_used_again_where_there_are_too_few(tmp_path: Path, photographs: Path) -> None:
    write_idx_files(tmp_path, num_train=100, num_test=20)
    train = load_dominoes(source=tmp_path, cifar_source=photographs, num_classes=10).train
    times = np.bincount(upper_numbers(train))
    assert len(train) == 480
    assert set(times[times > 0].tolist()) == {6}


@pytest.mark.parametrize(("num_classes", "share"), [(2, 0.0), (2, 0.25), (2, 0.5), (10, 0.05)])
def test_shares_are_exact(digits: Path, photographs: Path, num_classes: int, share: float) -> None:
    data = load_dominoes(source=digits, cifar_source=photographs, num_classes=num_classes, conflict_share=share)
    counts = group_counts(data.train, num_classes, num_classes)
    assert counts.diagonal().tolist() == [round((1 - share) * 48)] * num_classes
    assert np.ptp(group_counts(data.test, num_classes, num_classes)) <= 1


def test_both_may_lie_in_one_folder(tmp_path: Path) -> None:
    write_idx_files(tmp_path / "MNIST" / "raw")
    write_cifar_files(tmp_path / "cifar-10-batches-bin")
    assert load_dominoes(source=tmp_path).name == "dominoes-idx-files-cifar-files"


def test_what_is_not_there_is_named(digits: Path, photographs: Path) -> None:
    with pytest.raises(DataError, match=r"holds no data_batch_1\.bin"):
        load_dominoes(source=digits)
    with pytest.raises(DataError, match="holds no train-images-idx3-ubyte"):
        load_dominoes(source=photographs)
    with pytest.raises(ConfigError, match="num_classes is 3; expected one of 2, 10"):
        load_dominoes(source=digits, cifar_source=photographs, num_classes=3)
    with pytest.raises(ConfigError, match=r"conflict_share is 0\.6; expected a share from 0 to 0\.5"):
        load_dominoes(source=digits, cifar_source=photographs, conflict_share=0.6)


def test_stacking_keeps_every_pixel() -> None:
    uppers = np.full((1, 28, 28), 9, dtype=np.uint8)
    lowers = np.arange(3072).reshape(1, 3, 32, 32).astype(np.uint8)
    stacked = stack_images(uppers, lowers)
    assert stacked.shape == (1, 3, 64, 32)
    assert (stacked[:, :, 32:] == lowers).all()
    assert stacked[:, :, :32].sum() == 3 * 9 * 28 * 28
