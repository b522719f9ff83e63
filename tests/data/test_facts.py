"""Facts of images: unused columns of their table, and what their files say of themselves."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prusc.data import load_data
from prusc.data.facts import ImageFacts


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A table of 12 images of two sizes, with a column that nothing uses and one that numbers the rows."""
    rng = np.random.default_rng(0)
    rows = ["file,label,split,place,hospital,number"]
    for index in range(12):
        size = (20, 10) if index % 3 == 0 else (16, 16)
        pixels = rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / f"{index}.png")
        rows.append(
            f"{index}.png,{index % 2},{('train', 'val', 'test')[index % 3]},p{index % 2},{'AB'[index < 5]},{index}"
        )
    (tmp_path / "table.csv").write_text("\n".join(rows))
    return tmp_path


def test_a_table_keeps_its_unused_columns_and_knows_its_files(folder: Path) -> None:
    data = load_data(str(folder / "table.csv"), attributes=("place",), image_size=16)
    assert data.train.facts is not None
    found = data.train.facts(range(4))
    assert [name.removesuffix(".png") for name in data.train.sample_ids] == ["0", "3", "6", "9"]
    assert found["hospital"] == ["B", "B", "A", "A"]
    assert set(found) == {
        "hospital",
        "width in pixels",
        "height in pixels",
        "width / height",
        "bytes per pixel of the file",
        "file format",
        "channels of the file",
    }
    assert (found["width in pixels"], found["height in pixels"]) == (["20"] * 4, ["10"] * 4)
    assert (found["width / height"], found["file format"]) == (["2.0000"] * 4, ["PNG"] * 4)
    size = (folder / "3.png").stat().st_size
    assert float(found["bytes per pixel of the file"][1]) == pytest.approx(size / 200, abs=1e-4)
    chosen = data.train.subset([2, 0])
    assert chosen.facts is not None
    assert chosen.facts([0, 1])["hospital"] == ["A", "B"]


def test_a_file_that_cannot_be_read_is_a_gap_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no image")
    Image.new("L", (3, 2)).save(tmp_path / "good.png")
    facts = ImageFacts((tmp_path / "bad.png", tmp_path / "good.png", tmp_path / "gone.png"), {})
    assert facts([0, 1, 2])["width in pixels"] == ["", "3", ""]
    assert facts([1])["channels of the file"] == ["L"]
    assert facts([0, 2]) == {}
