from pathlib import Path

import numpy as np
import pytest
import torch

from prusc.data.synthetic.colored_mnist import COLOURS, load_colored_mnist, load_colored_mnist_irm, tint
from prusc.data.synthetic.idx_files import read_mnist
from prusc.data.table import Data
from prusc.errors import ConfigError
from tests.data.synthetic.files import group_counts, write_idx_files


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx_files(tmp_path_factory.mktemp("idx"), num_train=2_000, num_test=1_000)


@pytest.fixture(scope="module")
def irm(source: Path) -> Data:
    return load_colored_mnist_irm(source=source)


def test_black_stays_black_and_white_becomes_the_colour() -> None:
    images = np.zeros((1, 28, 28), dtype=np.uint8)
    images[0, 0, :2] = 255, 100
    tinted = tint(images, np.array([[1.2, 0.5, -0.1]]))
    assert tinted[0, :, 0, 0].tolist() == [255, 128, 0]
    assert tinted[0, :, 0, 1].tolist() == [100, 50, 0]
    assert not tinted[0, :, 1:].any()


def test_the_colour_is_the_one_that_the_attribute_names(source: Path) -> None:
    data = load_colored_mnist(source=source)
    originals = read_mnist(source)
    means = np.array(list(COLOURS.values()))
    for name, split in data.splits.items():
        rows = [int(sample_id.split("-")[1]) for sample_id in split.sample_ids]
        grey = originals.images_of(name)[rows][:, 12, 12, None]
        found = split.inputs[:, :, 12, 12].numpy() / grey
        nearest = np.linalg.norm(found[:, None] - means, axis=2).argmin(axis=1)
        assert nearest.tolist() == split.attributes[:, 0].tolist()
        labels = (originals.test_labels if name == "test" else originals.train_labels)[rows]
        assert labels.tolist() == split.labels.tolist()
        # The colour of an image varies a little.
        assert 0.001 < (found - means[nearest]).std() < 0.02


def test_colours_can_be_told_apart() -> None:
    means = np.array(list(COLOURS.values()))
    distances = np.linalg.norm(means[:, None] - means, axis=2) + 9 * np.eye(10)
    assert distances.min() > 0.3


@pytest.mark.parametrize("share", [0.005, 0.01, 0.02, 0.05])
def test_published_shares_are_exact(tmp_path: Path, share: float) -> None:
    write_idx_files(tmp_path, num_train=2_500, num_test=100)
    data = load_colored_mnist(source=tmp_path, conflict_share=share)
    counts = group_counts(data.train, 10, 10)
    assert (counts.sum(axis=1) - counts.diagonal()).tolist() == [round(200 * share)] * 10
    assert data.origin["conflict_share"] == share


def test_shares_that_cannot_be_are_refused(source: Path) -> None:
    with pytest.raises(ConfigError, match=r"conflict_share is 0\.95; expected a share from 0 to 0\.9"):
        load_colored_mnist(source=source, conflict_share=0.95)
    with pytest.raises(ConfigError, match="rounds to no image; expected at least one"):
        load_colored_mnist(source=source, conflict_share=0.005, num_train=100)
    with pytest.raises(ConfigError, match=r"label_noise is 0\.6; expected a share from 0 to 0\.5"):
        load_colored_mnist_irm(source=source, label_noise=0.6)


def digits_of(data: Data, split: str, source: Path) -> np.ndarray:
    originals = read_mnist(source)
    rows = [int(sample_id.split("-")[1]) for sample_id in data.splits[split].sample_ids]
    return (originals.test_labels if split == "test" else originals.train_labels)[rows]


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_a_quarter_of_the_labels_of_each_true_class_is_wrong(irm: Data, source: Path, split: str) -> None:
    true_labels = digits_of(irm, split, source) >= 5
    wrong = irm.splits[split].labels.numpy() != true_labels
    for label in (False, True):
        of_class = true_labels == label
        assert wrong[of_class].sum() == round(0.25 * of_class.sum())


def test_the_colour_goes_with_the_class_in_training_and_against_it_in_test(irm: Data) -> None:
    assert irm.class_names == ("0 to 4", "5 to 9")
    assert irm.attribute_values == (("green", "red"),)
    conflicting = {name: split.labels != split.attributes[:, 0] for name, split in irm.splits.items()}
    labels = irm.test.labels
    for label in (0, 1):
        assert conflicting["test"][labels == label].sum() == round(0.9 * (labels == label).sum().item())
    for name in ("train", "val"):
        # The two environments take turns.
        for environment, share in enumerate((0.2, 0.1)):
            found = conflicting[name][environment::2]
            assert abs(found.sum().item() - share * len(found)) <= 1


def test_knowing_the_label_the_colour_says_nothing_about_the_digit(irm: Data, source: Path) -> None:
    true_labels = torch.from_numpy(digits_of(irm, "train", source) >= 5)
    split = irm.train
    for label in (0, 1):
        of_label = split.labels == label
        shares = [
            (split.attributes[of_label & (true_labels == true), 0] == label).float().mean().item()
            for true in (False, True)
        ]
        assert abs(shares[0] - shares[1]) < 0.12


def test_one_channel_holds_the_image(irm: Data) -> None:
    for split in irm.splits.values():
        used = split.inputs.flatten(2).any(dim=2)
        expected = torch.tensor([[False, True, False], [True, False, False]])[split.attributes[:, 0]]
        assert torch.equal(used, expected)
