import io

import numpy as np
import pytest
import torch
from PIL import Image

from prusc.runs.samples.contact_sheets import (
    TILES_PER_SHEET,
    TileSize,
    are_pictures,
    cut_tile,
    encode_picture,
    fit_tile,
    make_tiles,
    write_sheets,
)
from tests.networks import random_images


def opened(content: bytes) -> Image.Image:
    return Image.open(io.BytesIO(content))


@pytest.mark.parametrize("num_tiles", [1, 24, 26, TILES_PER_SHEET + 3])
def test_tiles_come_back_from_the_sheets(num_tiles: int) -> None:
    pixels = torch.randint(0, 256, (num_tiles, 3, 6, 8), dtype=torch.uint8)
    tiles = list(make_tiles(pixels, torch.arange(num_tiles), largest_side=48))
    sheets = [np.asarray(opened(content).convert("RGB")) for content in write_sheets(tiles)]
    assert len(sheets) == -(-num_tiles // TILES_PER_SHEET)
    for index in (0, num_tiles // 2, num_tiles - 1):
        found = cut_tile(sheets[index // TILES_PER_SHEET], index % TILES_PER_SHEET, TileSize(8, 6))
        assert np.array_equal(found, pixels[index].permute(1, 2, 0).numpy())


def test_tiles_are_scaled_down_never_up_and_gray_becomes_rgb() -> None:
    gray = torch.full((2, 1, 100, 50), 7, dtype=torch.uint8)
    (tile,) = make_tiles(gray, torch.tensor([1]), largest_side=20)
    assert (tile.size, tile.getpixel((3, 3))) == ((10, 20), (7, 7, 7))
    assert fit_tile(28, 28, 48) == TileSize(28, 28)
    assert fit_tile(1000, 1, 48) == TileSize(48, 1)


def test_normalised_images_are_shown_from_their_least_to_their_greatest_value() -> None:
    pixels = torch.randint(0, 256, (1, 3, 6, 8), dtype=torch.uint8)
    pixels[0, 0, 0, :2] = torch.tensor([0, 255], dtype=torch.uint8)
    (tile,) = make_tiles((pixels / 255 - 0.5) / 0.2, torch.arange(1), largest_side=48)
    assert np.array_equal(np.asarray(tile), pixels[0].permute(1, 2, 0).numpy())
    (flat,) = make_tiles(torch.ones(1, 1, 4, 4), torch.arange(1), largest_side=48)
    assert flat.getpixel((0, 0)) == (0, 0, 0)


def test_a_picture_holds_nothing_but_its_pixels() -> None:
    image = Image.new("RGB", (60, 60), "red")
    image.info["comment"] = "who took it"
    exif = Image.Exif()
    exif[0x010E] = "where it was taken"
    image.info["exif"] = exif.tobytes()
    for lossless in (True, False):
        content = encode_picture(image, lossless=lossless)
        assert b"taken" not in content
        assert b"who took it" not in content
        assert not opened(content).getexif()


def test_what_is_no_picture_is_known() -> None:
    assert are_pictures(torch.zeros(2, 3, 4, 4, dtype=torch.uint8))
    assert are_pictures(random_images(2))
    assert not are_pictures(torch.zeros(2, 3))
    assert not are_pictures(torch.zeros(2, 5, 4, 4, dtype=torch.uint8))
    assert not are_pictures(torch.zeros(2, 7))
