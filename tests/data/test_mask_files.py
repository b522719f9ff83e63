"""Masks as people save them; each is compared with the half that was drawn."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from prusc.data.mask_files import is_mask_folder, read_mask
from prusc.errors import DataError

LEFT = np.zeros((12, 12), dtype=bool)
LEFT[:, :6] = True


def gray(inside: int, outside: int, kind: Any = np.uint8) -> Image.Image:
    return Image.fromarray(np.where(LEFT, inside, outside).astype(kind))


def with_alpha(colour: Any, alpha: Any) -> Image.Image:
    layers = np.zeros((12, 12, 4), dtype=np.uint8)
    layers[:, :, :3] = colour
    layers[:, :, 3] = alpha
    return Image.fromarray(layers)


def palette(inside: int, colours: list[int]) -> Image.Image:
    picture = Image.new("P", (12, 12))
    picture.putpalette(colours)
    picture.putdata(np.where(LEFT, inside, 0).flatten().tolist())
    return picture


PICTURES = {
    "white.png": gray(255, 0),
    "ones.png": gray(1, 0),
    "index.png": gray(7, 0),
    "bright.png": gray(255, 200),
    "bits.png": Image.fromarray(LEFT),
    "sixteen.png": gray(65535, 0, np.uint16),
    "sixteen-ones.png": gray(1, 0, np.uint16),
    "float.tif": gray(1, 0, np.float32),
    "white.jpg": gray(255, 0),
    "rgb.png": gray(255, 0).convert("RGB"),
    "rgb-ones.png": gray(1, 0).convert("RGB"),
    "red.png": Image.merge("RGB", [gray(200, 0), gray(0, 0), gray(0, 0)]),
    "blue.png": Image.merge("RGB", [gray(0, 0), gray(0, 0), gray(100, 0)]),
    "alpha-black.png": with_alpha(0, np.where(LEFT, 255, 0)),
    "alpha-white.png": with_alpha(255, np.where(LEFT, 255, 0)),
    "alpha-opaque.png": with_alpha(np.where(LEFT, 255, 0)[:, :, None], 255),
    "alpha-both.png": with_alpha(np.where(LEFT, 255, 0)[:, :, None], np.where(np.arange(12) < 9, 255, 0)),
    "gray-alpha.png": Image.merge("LA", [gray(9, 9), gray(255, 0)]),
    # Green is dark in the red channel, which used to be the only one that was read.
    "voc.png": palette(2, [0, 0, 0, 128, 0, 0, 0, 128, 0]),
    "dark.png": palette(8, [0] * 24 + [64, 0, 0]),
    "two.gif": palette(1, [0, 0, 0, 255, 255, 255]),
}


@pytest.mark.parametrize("name", PICTURES)
def test_the_drawn_half_is_inside(name: str, tmp_path: Path) -> None:
    PICTURES[name].save(tmp_path / name)
    assert np.array_equal(read_mask(tmp_path / name, 12), LEFT)
    assert np.array_equal(read_mask(tmp_path / name, 6), LEFT[::2, ::2])


@pytest.mark.parametrize(
    ("picture", "is_full"),
    [
        (gray(0, 0), False),
        (gray(255, 255), True),
        (gray(1, 1), True),
        (Image.new("1", (12, 12)), False),
        (with_alpha(255, 0), False),
        (with_alpha(0, 0), False),
        (with_alpha(255, 255), True),
    ],
)
def test_empty_and_full_masks_are_understood(picture: Image.Image, is_full: bool, tmp_path: Path) -> None:
    picture.save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", 12), np.full((12, 12), is_full))


def test_shades_are_cut_in_their_middle(tmp_path: Path) -> None:
    shades = np.tile(np.linspace(0, 255, 12).round().astype(np.uint8), (12, 1))
    Image.fromarray(shades).save(tmp_path / "mask.png")
    assert np.array_equal(read_mask(tmp_path / "mask.png", 12), shades >= 128)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (
            np.arange(144).reshape(12, 12).astype(np.uint8) % 3,
            "has the values 0, 1, 2, which do not say what is inside",
        ),
        (np.where(LEFT, np.nan, 1).astype(np.float32), "not finite"),
        (
            np.stack([np.full((12, 12), 255), np.where(LEFT, 0, 255), np.full((12, 12), 0)], 2).astype(np.uint8),
            "colours",
        ),
    ],
)
def test_what_does_not_say_where_the_object_is_is_refused(pixels: Any, message: str, tmp_path: Path) -> None:
    Image.fromarray(pixels).save(tmp_path / "mask.tif")
    with pytest.raises(DataError, match=rf"mask\.tif .*{message}"):
        read_mask(tmp_path / "mask.tif", 12)


def test_what_a_folder_holds_decides_whether_it_holds_masks(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (12, 12, 3)).astype(np.uint8)
    for folder in ("masks", "Mask", "faces"):
        (tmp_path / folder).mkdir()
    assert not is_mask_folder(tmp_path / "masks")
    for name in ("ones.png", "white.jpg", "voc.png", "alpha-black.png", "two.gif"):
        PICTURES[name].save(tmp_path / "masks" / name)
        PICTURES[name].save(tmp_path / "faces" / name)
    Image.fromarray(noise).save(tmp_path / "Mask" / "person.png")
    assert is_mask_folder(tmp_path / "masks")
    assert not is_mask_folder(tmp_path / "faces")
    assert not is_mask_folder(tmp_path / "Mask")
    (tmp_path / "masks" / "0.png").write_text("no image")
    assert not is_mask_folder(tmp_path / "masks")
