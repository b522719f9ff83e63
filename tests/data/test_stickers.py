import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from prusc.config import StickerConfig
from prusc.data import load_data
from prusc.data.images import decode_source
from prusc.data.listing import Listing
from prusc.data.regions import add_masks
from prusc.data.stickers import COLOURS, StickeredImage, add_stickers
from prusc.errors import ConfigError
from tests.shape_checker import unchecked


def make_listing(root: Path, num_samples: int = 300) -> Listing:
    """Two classes, of which class 1 is a third; half training, a quarter each for validation and test."""
    number = np.arange(num_samples)
    return Listing(
        "data",
        "isic",
        root,
        "table.csv",
        tuple(f"{i}.png" for i in number),
        (root / "gray.png",) * num_samples,
        tuple(f"row {i}" for i in number),
        (number % 3 == 0).astype(np.int64),
        ("benign", "malignant"),
        np.array([0, 0, 1, 2])[number // 3 % 4],
        number[:, None] % 2,
        ("sex",),
        (("f", "m"),),
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Image.new("RGB", (40, 30), (128, 128, 128)).save(tmp_path / "gray.png")
    return tmp_path


def sticker_counts(listing: Listing) -> list[list[tuple[int, int]]]:
    """For each split and class the stickers and the samples."""
    inside = [[(listing.splits == s) & (listing.labels == c) for c in (0, 1)] for s in (0, 1, 2)]
    return [[(int(listing.attributes[i, -1].sum()), int(i.sum())) for i in row] for row in inside]


def test_each_class_of_each_split_gets_its_share(root: Path) -> None:
    listing = add_stickers(make_listing(root), StickerConfig((0.5, 0.1)), 0)
    assert sticker_counts(listing) == [[(50, 100), (5, 50)], [(25, 50), (2, 25)], [(25, 50), (12, 25)]]
    assert listing.attribute_names == ("sex", "sticker")
    assert listing.attribute_values[1] == ("no sticker", "sticker")
    assert [isinstance(image, StickeredImage) for image in listing.images] == (listing.attributes[:, 1] == 1).tolist()
    config = StickerConfig((0.5, 0.1), (1.0, 0.0), (0.0, 1.0))
    assert sticker_counts(add_stickers(make_listing(root), config, 0))[1:] == [[(50, 50), (0, 25)], [(0, 50), (25, 25)]]


def test_without_shares_nothing_changes(root: Path) -> None:
    listing = make_listing(root)
    assert add_stickers(listing, StickerConfig(), 0) is listing


def test_a_seed_decides_and_an_image_keeps_its_sticker(root: Path) -> None:
    first, again, other = (add_stickers(make_listing(root), StickerConfig((1.0, 1.0)), seed) for seed in (0, 0, 1))
    assert first.images == again.images
    assert first.images != other.images
    # Whatever other images there are.
    fewer = make_listing(root).take(np.arange(100))
    assert add_stickers(fewer, StickerConfig((1.0, 1.0)), 0).images[:3] == first.images[:3]


def test_a_sticker_is_a_disc_of_one_colour_near_an_edge(root: Path) -> None:
    for seed in range(20):
        image = StickeredImage(root / "gray.png", None, seed, 0.3).decode(100)
        assert np.array_equal(image, StickeredImage(root / "gray.png", None, seed, 0.3).decode(100))
        painted = (image != 128).any(axis=2)
        rows, columns = np.nonzero(painted)
        assert min(rows.min(), columns.min(), 99 - rows.max(), 99 - columns.max()) <= 2
        assert 100 < painted.sum() <= np.pi * 18.5**2
        assert tuple(np.median(image[painted], axis=0).astype(int)) in COLOURS


def test_it_looks_alike_at_any_size(root: Path) -> None:
    small, large = (StickeredImage(root / "gray.png", None, 3, 0.3).decode(size) for size in (32, 128))
    shrunk = np.asarray(Image.fromarray(large).resize((32, 32), Image.Resampling.BOX)).astype(int)
    assert np.abs(shrunk - small).max() < 60
    assert np.abs(shrunk - small).mean() < 1


def test_it_keeps_off_the_lesion(root: Path) -> None:
    mask = np.zeros((30, 40), dtype=np.uint8)
    mask[:, :26] = 255  # the square that is seen goes from column 5 to 35
    Image.fromarray(mask).save(root / "mask.png")
    lesion = decode_source(root / "mask.png", 64)[:, :, 0] >= 128
    with_mask = without = 0
    for seed in range(40):
        image = StickeredImage(root / "gray.png", root / "mask.png", seed, 0.25).decode(64)
        with_mask += int(((image != 128).any(axis=2) & lesion).sum())
        image = StickeredImage(root / "gray.png", None, seed, 0.25).decode(64)
        without += int(((image != 128).any(axis=2) & lesion).sum())
    assert with_mask == 0
    assert without > 0


def test_masks_are_found_by_the_name_of_the_image(root: Path) -> None:
    (root / "masks").mkdir()
    Image.new("L", (40, 30)).save(root / "masks" / "7.png")
    masked = add_masks(make_listing(root), None)
    listing = add_stickers(masked, StickerConfig((1.0, 1.0), test_shares=(1.0, 1.0)), 0)
    assert listing.images[7].mask == root / "masks" / "7.png"  # type: ignore[union-attr]
    assert listing.images[8].mask is None  # type: ignore[union-attr]
    with pytest.raises(ConfigError, match=r"mask_folder .*nowhere is not a folder"):
        add_stickers(make_listing(root), StickerConfig((1.0, 1.0), mask_folder="nowhere"), 0)


@pytest.mark.parametrize("name", ["train_shares", "val_shares", "test_shares"])
def test_a_share_for_each_class_is_needed(root: Path, name: str) -> None:
    config: Any = replace(StickerConfig((0.5, 0.5)), **{name: (0.5, 0.5, 0.5)})
    with pytest.raises(ConfigError, match=f"{name} has 3 shares; expected one for each class.*: benign, malignant"):
        add_stickers(make_listing(root), config, 0)


@pytest.mark.skipif("PRUSC_DATA" not in os.environ, reason="PRUSC_DATA does not name the folder of the real data")
def test_on_real_lesions() -> None:
    folder = Path(os.environ["PRUSC_DATA"]) / "isic"
    with unchecked():
        data = load_data(str(folder), stickers=StickerConfig((0.5, 0.03)), memory_limit_bytes=0, image_size=96)
    assert data.origin["attributes"] == ["sticker"]
    train = data.train
    assert train.attributes is not None
    groups = torch.bincount(2 * train.labels + train.attributes[:, 0])
    assert groups.tolist() == [2409, 2409, 1127, 35]
    covered = []
    for index in train.attributes[:, 0].nonzero()[:60, 0].tolist():
        name = Path(train.sample_ids[index]).stem
        plain = decode_source(folder / "images" / f"{name}.jpg", 96)
        changed = (train.inputs[index].permute(1, 2, 0).numpy() != plain).any(axis=2)
        mask = decode_source(folder / "masks" / f"{name}.png", 96)[:, :, 0] >= 128
        assert changed.mean() > 0.01
        covered.append((changed & mask).sum() / changed.sum())
    # Some lesions fill the whole image.
    assert np.median(covered) == 0
    assert np.mean(covered) < 0.1
