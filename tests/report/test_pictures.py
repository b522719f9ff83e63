"""Pictures on a page, read back from their data URLs."""

import base64
import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prusc.report.pictures import address_of, lay_over, make_portrait, sheet_addresses
from prusc.report.reading.run import read_run
from prusc.report.sample_record import Pictures
from prusc.runs.samples.contact_sheets import TileSize


def read_address(address: str) -> np.ndarray:
    kind, content = address.split(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return np.asarray(image.convert("RGB"))


@pytest.mark.parametrize(("side", "tolerance"), [(24, 0), (64, 12)])
def test_small_pictures_keep_every_pixel_and_larger_ones_their_look(side: int, tolerance: int) -> None:
    pixels = np.linspace(0, 255, side * side * 3).reshape(side, side, 3).astype(np.uint8)
    found = read_address(address_of(pixels))
    assert np.abs(found.astype(int) - pixels).max() <= tolerance


def test_attention_is_bright_where_it_is_high_and_the_picture_shows_through() -> None:
    gray = np.full((56, 56, 3), 100, dtype=np.uint8)
    attention = np.zeros((4, 4), dtype=np.float32)
    attention[:, 2:] = 1
    found = lay_over(gray, attention)
    assert found.shape == (112, 112, 3)
    # 0.4 of the gray and 0.6 of the darkest and of the brightest colour.
    assert found[56, 2].tolist() == [int(40 + 0.6 * value) for value in (0, 0, 4)]
    assert found[56, -3].tolist() == [int(40 + 0.6 * value) for value in (252, 255, 164)]


def test_small_pictures_are_enlarged_by_a_whole_factor_and_large_ones_are_not() -> None:
    for side, expected in ((8, 112), (50, 150), (112, 112), (200, 200)):
        shape = lay_over(np.zeros((side, side, 3), dtype=np.uint8), np.zeros((2, 2), dtype=np.float32)).shape
        assert shape == (expected, expected, 3)


def test_a_portrait_has_the_pixels_of_its_sample_and_gaps_for_what_is_missing(shared_run: Path) -> None:
    record = read_run(shared_run)
    samples = record.samples
    assert samples is not None
    row = samples.table[samples.table["attention"] >= 0].iloc[0]
    portrait = make_portrait(row, record.class_names, samples)
    pixels = samples.pictures.cut(int(row["picture"]))
    assert pixels is not None
    assert np.array_equal(read_address(portrait.address), pixels)
    assert portrait.before.name == record.class_names[int(row["prediction/erm"])]
    assert portrait.before.is_right == (row["prediction/erm"] == row["label"])
    without = make_portrait(row, record.class_names, replace(samples, attention={}))
    assert (without.heat_before, without.heat_after) == ("", "")
    gone = make_portrait(row, record.class_names, replace(samples, pictures=Pictures((None,), TileSize(24, 24))))
    assert (gone.address, gone.heat_before, gone.heat_after) == ("", "", "")


def test_sheets_are_passed_on_as_they_are() -> None:
    pictures = Pictures(((b"abc", np.zeros((1, 1, 3), dtype=np.uint8)), None), TileSize(1, 1))
    assert sheet_addresses(pictures) == ["data:image/webp;base64,YWJj", ""]
