"""Pictures cut from sheets."""

import numpy as np

from prusc.report.sample_record import Pictures
from prusc.runs.samples.contact_sheets import COLUMNS, TILES_PER_SHEET, TileSize

SIZE = TileSize(width=3, height=2)


def make_sheet(num_tiles: int, first: int) -> np.ndarray:
    """Each tile has its position as its value."""
    rows = -(-num_tiles // COLUMNS)
    sheet = np.zeros((rows * SIZE.height, COLUMNS * SIZE.width, 3), dtype=np.uint8)
    for number in range(num_tiles):
        row, column = divmod(number, COLUMNS)
        sheet[row * 2 : row * 2 + 2, column * 3 : column * 3 + 3] = (first + number) % 251
    return sheet


def test_a_picture_is_cut_from_its_place_on_its_sheet() -> None:
    sheets = (make_sheet(TILES_PER_SHEET, 0), make_sheet(30, TILES_PER_SHEET))
    pictures = Pictures(tuple((b"", sheet) for sheet in sheets), SIZE)
    for position in (0, 24, 25, 499, 500, 529):
        tile = pictures.cut(position)
        assert tile is not None
        assert tile.shape == (2, 3, 3)
        assert (tile == position % 251).all(), position


def test_what_is_not_there_leaves_a_gap() -> None:
    pictures = Pictures((None, (b"", make_sheet(30, TILES_PER_SHEET))), SIZE)
    assert pictures.cut(3) is None
    assert pictures.cut(-1) is None
    assert pictures.cut(2 * TILES_PER_SHEET) is None
    assert pictures.cut(TILES_PER_SHEET + 100) is None, "below the end of a sheet that is too short"
    assert pictures.cut(TILES_PER_SHEET + 29) is not None
