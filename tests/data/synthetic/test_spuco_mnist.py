from pathlib import Path

import numpy as np
import pytest
import torch

from prusc.data.synthetic.idx_files import read_mnist
from prusc.data.synthetic.spuco_mnist import load_spuco_mnist
from prusc.errors import ConfigError
from tests.data.synthetic.files import group_counts, write_idx_files

# Hues at 0, 72, 144, 216 and 288 degrees.
RGB = torch.tensor([[255, 0, 0], [204, 255, 0], [0, 255, 102], [0, 102, 255], [204, 0, 255]], dtype=torch.uint8)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_idx_files(tmp_path_factory.mktemp("idx"))


@pytest.mark.parametrize(
    ("options", "side", "num_pixels"),
    [
        ({}, 28, 28 * 28),
        ({"magnitude": "large"}, 28, 28 * 28),
        ({"magnitude": "medium"}, 4, 16),
        ({"magnitude": "small"}, 2, 4),
        ({"variance": "low"}, 7, 49),
        ({"variance": "medium"}, 14, 49),
        ({"variance": "high"}, 28, 49),
    ],
)
def test_the_background_is_coloured_where_it_should_be(
    source: Path, options: dict[str, str], side: int, num_pixels: int
) -> None:
    data = load_spuco_mnist(source=source, strength=0.9, **options)
    originals = read_mnist(source)
    for name, split in data.splits.items():
        rows = [int(sample_id.split("-")[1]) for sample_id in split.sample_ids]
        grey = torch.from_numpy(originals.images_of(name)[rows])
        coloured = (split.inputs != grey[:, None]).any(dim=1)
        expected = RGB[split.attributes[:, 0]][:, :, None, None].expand_as(split.inputs)
        assert torch.equal(
            split.inputs, torch.where(coloured[:, None], expected, grey[:, None].expand_as(split.inputs))
        )
        assert not (coloured & (grey > 0)).any()
        assert not coloured[:, side:].any()
        assert not coloured[:, :, side:].any()
        # All of it, but for what the image hides.
        hidden = (grey[:, :side, :side] > 0).flatten(1).sum(dim=1)
        assert (coloured.flatten(1).sum(dim=1) <= num_pixels).all()
        assert (coloured.flatten(1).sum(dim=1) + hidden >= num_pixels).all()


def test_strewn_pixels_differ_from_image_to_image_and_lie_anywhere(source: Path) -> None:
    data = load_spuco_mnist(source=source, strength=0.9, variance="medium")
    corner = (data.train.inputs[:, :, :10, :10] > 0).any(dim=1)
    assert not torch.equal(corner[0], corner[1])
    shares = corner.float().mean(dim=0)
    assert 0.1 < shares.min() < shares.max() < 0.4


def test_classes_are_pairs_of_digits(source: Path) -> None:
    data = load_spuco_mnist(source=source, strength=0.9)
    assert data.class_names == ("0 or 1", "2 or 3", "4 or 5", "6 or 7", "8 or 9")
    assert len(data.attribute_values[0]) == 5
    labels = read_mnist(source).train_labels
    rows = [int(sample_id.split("-")[1]) for sample_id in data.train.sample_ids]
    assert (labels[rows] // 2).tolist() == data.train.labels.tolist()


@pytest.mark.parametrize("strength", [0.2, 0.95, 1.0])
def test_the_strength_is_the_share_that_agrees(source: Path, strength: float) -> None:
    data = load_spuco_mnist(source=source, strength=strength)
    for split, size in ((data.train, 96), (data.val, 24)):
        counts = group_counts(split, 5, 5)
        assert counts.diagonal().tolist() == [round(strength * size)] * 5
    assert np.ptp(group_counts(data.test, 5, 5)) == 0
    assert data.origin["strength"] == strength
    assert data.origin["magnitude"] == "large"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"magnitude": "lage"}, "magnitude is 'lage'; did you mean large.*expected one of large, medium, small"),
        ({"variance": "large"}, "variance is 'large'.*expected one of low, medium, high"),
        ({"magnitude": "small", "variance": "low"}, "are both given; expected one of them"),
        ({"strength": 0.1}, r"strength is 0\.1; expected a share from 0\.2 \(independent\) to 1"),
        ({"strength": 1.1}, r"strength is 1\.1"),
        ({"strength": float("nan")}, "strength is nan"),
    ],
)
def test_bad_options_are_refused(source: Path, options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_spuco_mnist(source=source, **options)
