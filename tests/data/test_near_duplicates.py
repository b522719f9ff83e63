"""Near duplicates across splits, columns that could be attributes, and a folder of images that is a link."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageEnhance

from prusc.data import load_data
from prusc.data.check import check_data, describe_report
from prusc.data.near_duplicates import make_hasher


def picture(seed: int, size: int = 64) -> Image.Image:
    """Large random shapes, as in a photograph; noise of single pixels has no structure to compare."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = []
    for index, split in enumerate(["train"] * 10 + ["val"] * 5 + ["test"] * 5):
        name = f"{index}.png"
        picture(index).save(tmp_path / name)
        rows.append({"image": name, "label": index % 2, "split": split, "night": index % 3, "note": f"n{index}"})
    pd.DataFrame(rows).to_csv(tmp_path / "table.csv", index=False)
    return tmp_path


def test_images_that_are_almost_the_same_are_named(table: Path) -> None:
    assert check_data(str(table), near_duplicates=True, image_size=32).is_good
    # Smaller, compressed and brighter: another file with the same content.
    changed = ImageEnhance.Brightness(picture(3).resize((50, 50))).enhance(1.1)
    changed.save(table / "12.png")
    picture(3).convert("RGB").save(table / "17.png")
    report = check_data(str(table), near_duplicates=True, image_size=32)
    kinds = {(problem.kind, problem.message.split(";")[0]) for problem in report.problems}
    assert kinds == {
        ("near-duplicate", "12.png (val) is almost the same image as 3.png (train)"),
        ("shared", "17.png (test) is the same file as 3.png (train)"),
    }
    assert {problem.kind for problem in check_data(str(table), image_size=32).problems} == {"shared"}


def test_images_without_structure_have_no_hash() -> None:
    hash_pixels = make_hasher()
    assert hash_pixels(np.zeros((16, 16, 3), dtype=np.uint8)) == -1
    first, other = (np.asarray(picture(seed)) for seed in (0, 1))
    assert hash_pixels(first) == hash_pixels(first.copy()) >= 0
    assert (hash_pixels(first) ^ hash_pixels(other)).bit_count() > 10


def test_columns_that_nothing_uses_are_offered(table: Path) -> None:
    report = check_data(str(table), image_size=8)
    assert report.unused_columns == ("night",)
    assert report.to_dict()["unused_columns"] == ("night",)
    expected = "columns that could be attributes, for evaluation only: night (--data-options.attributes night)"
    assert expected in describe_report(report)
    lines: list[str] = []
    load_data(str(table), image_size=8, log=lines.append)
    assert f"data: {expected}" in lines
    assert check_data(str(table), image_size=8, attributes=("night",)).unused_columns == ()


def test_the_folder_of_the_images_may_be_a_link(tmp_path: Path, table: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (table / "table.csv").rename(data / "table.csv")
    (tmp_path / "disk").mkdir()
    for file in table.glob("*.png"):
        file.rename(tmp_path / "disk" / file.name)
    (data / "images").symlink_to(tmp_path / "disk")
    assert len(load_data(str(data), image_size=8).train) == 10
    folder = tmp_path / "classes"
    folder.mkdir()
    (tmp_path / "more").mkdir()
    for index in range(20):
        picture(100 + index).save(tmp_path / "more" / f"{index}.png")
    for name, place in (("cat", "disk"), ("dog", "more")):
        (folder / name).symlink_to(tmp_path / place)
    linked = load_data(str(folder), image_size=8)
    assert len(linked.train) + len(linked.val) + len(linked.test) == 40
