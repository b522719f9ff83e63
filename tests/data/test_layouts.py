import re
from pathlib import Path

import numpy as np
import pytest

from prusc.config import DataConfig, StickerConfig
from prusc.data.layouts import LAYOUT_NAMES, LAYOUTS, check_options, find_layout, list_layout
from prusc.data.listing import Problems
from prusc.errors import ConfigError
from tests.data.folders import write_class_folders, write_image, write_table, write_waterbirds


def write_rows(root: Path, *columns: str) -> Path:
    rows = [{name: f"{number}.png" if name == columns[0] else number % 2 for name in columns} for number in range(4)]
    return write_table(root / "metadata.csv", rows).parent


def test_names_are_unique_and_every_option_is_a_setting() -> None:
    assert len(set(LAYOUT_NAMES)) == len(LAYOUTS)
    known = set(DataConfig.__dataclass_fields__)
    for layout in LAYOUTS:
        assert len(set(layout.options)) == len(layout.options)
        assert set(layout.options) <= known
        assert layout.description


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        (("img_filename", "y", "split", "place"), "waterbirds"),
        (("img_filename", "y", "split"), "table"),
        (("isic_id", "benign_malignant"), "isic"),
        (("image", "label"), "table"),
    ],
)
def test_the_columns_of_a_table_tell_its_layout(tmp_path: Path, columns: tuple[str, ...], expected: str) -> None:
    assert find_layout(str(write_rows(tmp_path, *columns)), None).name == expected


def test_a_table_beside_folders_of_classes_is_a_note_unless_it_names_images(tmp_path: Path) -> None:
    write_class_folders(tmp_path, 2)
    (tmp_path / "breeds.csv").write_text("breed,country\nCorgi,Wales\n")
    assert find_layout(str(tmp_path), None).name == "imagefolder"
    (tmp_path / "breeds.csv").write_text("path,label\ncat/0.png,cat\n")
    assert find_layout(str(tmp_path), None).name == "table"


def test_the_layout_that_is_named_needs_no_recognition(tmp_path: Path) -> None:
    write_waterbirds(tmp_path)
    assert find_layout(str(tmp_path), None).name == "waterbirds"
    assert find_layout(str(tmp_path), "table").name == "table"
    assert find_layout("hf:somebody/something", None).name == "huggingface"


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        (".", "imagefolders", "unknown layout 'imagefolders'; did you mean imagefolder or aligned-folders?; known"),
        ("nowhere", None, "data 'nowhere' is neither a packaged data set (stickers) nor a folder or table; expected a"),
        ("sticker", None, "(stickers) nor a folder or table; did you mean stickers?; expected a folder that is one"),
        ("nowhere", "table", "data 'nowhere' is neither a packaged data set"),
        ("empty", None, "folder 'empty' has no layout that prusc knows; expected one of: CelebA (img_align_celeba/"),
        ("note.txt", None, "file 'note.txt' has no layout that prusc knows; expected one of: CelebA"),
    ],
)
def test_what_has_no_layout_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, layout: str | None, message: str
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "note.txt").write_text("hello")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("prusc.data.layouts.PACKAGED_NAMES", ("stickers",))
    with pytest.raises(ConfigError, match=re.escape(message)):
        find_layout(name, layout)


def test_the_options_that_do_not_apply_are_all_named() -> None:
    check_options("birds", {"target": "y"}, ("target", "classes"))
    with pytest.raises(ConfigError, match=r"'birds' does not take a or b; its options are target, classes$"):
        check_options("birds", {"a": 1, "target": "y", "b": 2}, ("target", "classes"))


def test_splits_masks_and_stickers_are_added_and_noted(tmp_path: Path) -> None:
    root = write_class_folders(tmp_path / "pets", 10)
    for name in ("cat", "dog"):
        write_image(tmp_path / "outlines" / name / "3.png", 34)
    given = {
        "data_seed": 5,
        "test_share": 0.3,
        "stickers": StickerConfig(train_shares=(1.0, 0.0)),
        # Inside the data's folder it would be a class.
        "mask_folder": "../outlines",
        "image_size": 8,
    }
    layout = find_layout(str(root), None)
    listing, made = list_layout(str(root), layout, Problems(), given, default_seed=0)
    assert made == ("val", "test")
    counts = [[int(((listing.splits == s) & (listing.labels == c)).sum()) for c in (0, 1)] for s in (0, 1, 2)]
    assert counts == [[5, 5], [2, 2], [3, 3]]
    assert listing.masks is not None
    assert sum(mask is not None for mask in listing.masks) == 2
    assert listing.attribute_names == ("sticker",)
    in_training = listing.splits == 0
    assert np.array_equal(listing.attributes[in_training, 0], 1 - listing.labels[in_training])
    assert listing.origin["data_seed"] == 5
    assert listing.origin["made_splits"] == ["val", "test"]
    assert (listing.origin["val_share"], listing.origin["test_share"]) == (0.2, 0.3)


def test_given_splits_stay_and_the_default_seed_decides(tmp_path: Path) -> None:
    layout = find_layout(str(write_waterbirds(tmp_path)), None)
    listing, made = list_layout(str(tmp_path), layout, Problems(), {}, default_seed=9)
    assert made == ()
    assert listing.splits.tolist() == [(0, 0, 1, 2)[n // 4] for n in range(16)]
    assert listing.origin["data_seed"] == 9
    assert "made_splits" not in listing.origin
    assert "val_share" not in listing.origin
