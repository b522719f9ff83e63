from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from prusc.data.listing import NO_SPLIT, Listing, Problems
from prusc.data.tables import ISIC, TABLE, WATERBIRDS, list_table
from prusc.errors import ConfigError, DataError
from tests.data.folders import write_image, write_table, write_waterbirds

SPLIT_NUMBERS = {"train": 0, "val": 1, "test": 2}


def write_birds(root: Path, suffix: str = ".csv", **columns: Callable[[int], object]) -> Path:
    """Twelve images in img/, and a table with these columns."""
    rows = [{name: value(number) for name, value in columns.items()} for number in range(12)]
    for number in range(12):
        write_image(root / "img" / f"{number}.png", number)
    path = write_table(root / "birds.csv", rows)
    if suffix == ".parquet":
        pd.read_csv(path).to_parquet(root / "birds.parquet")
        path.unlink()
        path = root / "birds.parquet"
    elif suffix == ".tsv":
        (root / "birds.tsv").write_text(path.read_text().replace(",", "\t"))
        path.unlink()
        path = root / "birds.tsv"
    return path


def listed(path: Path, table_format: Any = TABLE, **options: Any) -> Listing:
    return list_table(path, table_format, Problems(), **options)


def test_waterbirds_as_group_dro_and_wilds_write_it(tmp_path: Path) -> None:
    listing = listed(write_waterbirds(tmp_path / "waterbirds"), WATERBIRDS)
    assert listing.name == "waterbirds"
    assert listing.class_names == ("landbird", "waterbird")
    assert listing.attribute_names == ("place",)
    assert listing.attribute_values == (("land", "water"),)
    assert listing.sample_ids[9] == "001.Species/bird_9.png"
    assert listing.images[9] == tmp_path / "waterbirds" / "001.Species" / "bird_9.png"
    assert listing.labels.tolist() == [n % 2 for n in range(16)]
    assert listing.attributes[:, 0].tolist() == [n // 2 % 2 for n in range(16)]
    assert listing.splits.tolist() == [(0, 0, 1, 2)[n // 4] for n in range(16)]


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet"])
def test_subpopbench_and_words_for_splits(tmp_path: Path, suffix: str) -> None:
    path = write_birds(
        tmp_path,
        suffix,
        filename=lambda n: f"img/{n}.png",
        split=lambda n: ("train", "Validation", "TEST")[n % 3],
        y=lambda n: n % 2,
        a=lambda n: n % 4,
    )
    for place in (path, tmp_path):
        listing = listed(place)
        assert listing.class_names == ("0", "1")
        assert listing.attribute_names == ("a",)
        assert listing.attribute_values == (("0", "1", "2", "3"),)
        assert listing.splits.tolist() == [n % 3 for n in range(12)]
        assert listing.places[3] == f"{path}, row 5"


def test_columns_by_option_and_classes_in_their_order(tmp_path: Path) -> None:
    path = write_birds(
        tmp_path,
        picture=lambda n: f"{n}",
        animal=lambda n: ("owl", "duck")[n % 2],
        part=lambda n: n % 3,
        sea=lambda n: ("", "yes", "no")[n % 3],
        light=lambda n: ("10", "9")[n % 2],
    )
    options: dict[str, Any] = {"file_column": "picture", "target": "animal", "attributes": ("sea", "light")}
    listing = listed(path, **options, split_column="part", classes=("owl", "duck"))
    assert listing.class_names == ("owl", "duck")
    assert listing.labels.tolist() == [0, 1] * 6
    assert listing.images[4] == tmp_path / "img" / "4.png"
    # An empty cell is a value of its own, and whole numbers are sorted as numbers.
    assert listing.attribute_values == (("no", "yes", "unknown"), ("9", "10"))
    assert listing.attributes[:3].tolist() == [[2, 1], [1, 0], [0, 1]]
    assert listed(path, **options).class_names == ("duck", "owl")
    assert set(listed(path, **options, split_column="none").splits) == {NO_SPLIT}


def test_isic_finds_images_by_their_id_and_takes_several_attributes(tmp_path: Path) -> None:
    rows = []
    for number in range(8):
        write_image(tmp_path / "images" / f"ISIC_{number:07d}.jpg", number)
        write_image(tmp_path / "masks" / f"ISIC_{number:07d}.png", number)
        kind = ("malignant", "benign")[number % 2]
        patches = number // 2 % 2
        rows.append(
            {
                "isic_id": f"ISIC_{number:07d}",
                "benign_malignant": kind,
                "patches": patches,
                "sex": "fm"[patches],
                "split": number % 3,
            }
        )
    path = write_table(tmp_path / "metadata.csv", rows)
    listing = listed(tmp_path, ISIC, attributes=("patches", "sex"))
    assert listing.class_names == ("benign", "malignant")
    assert listing.labels.tolist() == [1, 0] * 4
    assert listing.images[2] == tmp_path / "images" / "ISIC_0000002.jpg"
    assert listing.attribute_values == (("no patches", "patches"), ("f", "m"))
    assert listed(tmp_path, ISIC).attribute_names == ("patches",)
    path.write_text(path.read_text().replace(",malignant,", ",1,").replace(",benign,", ",0,"))
    assert listed(tmp_path, ISIC).labels.tolist() == [1, 0] * 4
    other = listed(tmp_path, ISIC, target="patches", attributes=())
    assert other.class_names == ("0", "1")


def test_hugging_faces_image_folder_with_a_table_in_each_split(tmp_path: Path) -> None:
    for split, number in (("train", 4), ("validation", 2), ("test", 2)):
        rows = [{"file_name": f"{n}.png", "label": "ab"[n % 2]} for n in range(number)]
        write_table(tmp_path / split / "metadata.csv", rows)
        for n in range(number):
            write_image(tmp_path / split / f"{n}.png", n)
    listing = listed(tmp_path)
    assert listing.sample_ids[0] == "train/0.png"
    assert listing.images[-1] == tmp_path / "test" / "1.png"
    assert sorted(listing.splits.tolist()) == [0, 0, 0, 0, 1, 1, 2, 2]
    assert listing.splits[listing.sample_ids.index("validation/1.png")] == 1


def test_the_images_may_lie_elsewhere_if_the_user_says_so(tmp_path: Path) -> None:
    path = write_birds(tmp_path / "a", image=lambda n: f"{n}.png", label=lambda n: n % 2)
    (tmp_path / "a" / "img").rename(tmp_path / "elsewhere")
    listing = listed(path, image_folder="../elsewhere")
    assert Path(str(listing.images[0])).samefile(tmp_path / "elsewhere" / "0.png")


def test_blank_lines_are_passed_over_and_counted(tmp_path: Path) -> None:
    path = write_birds(tmp_path, image=lambda n: f"{n}.png", label=lambda n: n % 2)
    path.write_text(path.read_text().replace("1.png", "\n ,\n1.png").replace("5.png,1", "5.png,"))
    with pytest.raises(DataError, match=r"birds\.csv, row 9: column 'label' is empty; expected a class"):
        listed(path)


COLUMNS: dict[str, Callable[[int], object]] = {
    "image": lambda n: f"{n}.png",
    "label": lambda n: "ab"[n % 2],
    "split": lambda n: n % 3,
    "a": lambda n: n % 2,
}
ROWS = [
    ("label", "3.png,b", "3.png,", "row 5: column 'label' is empty"),
    ("split", "3.png,b,0", "3.png,b,5", "row 5: the split in column 'split' is '5'; expected one of 0, train"),
    ("split", "3.png,b,0", "3.png,b,", "row 5: the split in column 'split' is ''"),
    ("path", "3.png", "/etc/passwd", "row 5: '/etc/passwd' is an absolute path"),
    ("path", "3.png", "../3.png", "row 5: '../3.png' contains '..'"),
    ("path", "3.png", "link.png", "row 5: 'link.png' is reached through a link that leads out"),
    ("path", "3.png", "", "row 5: '' is not a file name"),
    ("repeated", "3.png", "2.png", "row 5: image '2.png' is listed again, first in .*row 4; expected it once"),
    ("repeated", "3.png", "img/2", "row 5: image 'img/2' is listed again"),
]


@pytest.mark.parametrize(("kind", "old", "new", "message"), ROWS)
def test_a_bad_row_is_refused_or_left_out_and_named(
    tmp_path: Path, kind: str, old: str, new: str, message: str
) -> None:
    path = write_birds(tmp_path / "root", **COLUMNS)
    (tmp_path / "root" / "img" / "link.png").symlink_to(write_image(tmp_path / "secret.png", 99))
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(DataError, match=message):
        listed(path)
    problems = Problems(collect=True)
    listing = list_table(path, TABLE, problems)
    assert [problem.kind for problem in problems.found] == [kind]
    assert len(listing) == 11
    assert listing.labels.tolist() == [n % 2 for n in range(12) if n != 3]
    assert np.array_equal(listing.splits, [n % 3 for n in range(12) if n != 3])


def test_a_value_that_is_no_class_is_refused(tmp_path: Path) -> None:
    path = write_birds(tmp_path, **COLUMNS)
    with pytest.raises(DataError, match="row 3: the class in column 'label' is 'b'; expected one of a, c"):
        listed(path, classes=("a", "c"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": "lable"}, r"no column 'lable' \(target\); did you mean label"),
        ({"attributes": ("b",)}, r"no column 'b' \(attributes\)"),
        ({"attributes": "a"}, "attributes is the text 'a'"),
        ({"attributes": ("a", "a")}, "'a' of .* is requested more than once"),
        ({"target": "a"}, "'a' of .* is requested more than once"),
        ({"keep_together": "lesion"}, r"no column 'lesion' \(keep_together\)"),
        ({"split_column": "part"}, r"no column 'part' \(split_column\)"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        listed(write_birds(tmp_path, **COLUMNS), **options)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", b"", "cannot be read .EmptyDataError"),
        ("t.csv", b"\xff\xfe\x00\x01", "cannot be read .UnicodeDecodeError"),
        ("t.csv", b'image,label\n"a.png,b', "cannot be read .ParserError"),
        ("t.csv", b"image,label\na.png,b\nc.png,d,e\n", "cannot be read .ParserError.* line 3"),
        ("t.csv", b"image,label\na.png,b,x\nc.png,d,x\n", "rows with more cells"),
        ("t.csv", b"image,label\n", "names no usable images; expected one for each sample"),
        ("t.parquet", b"PAR1 and no more", "cannot be read .ArrowInvalid"),
    ],
)
def test_a_broken_table_is_named(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=f"{name}.* {message}|{name} {message}"):
        listed(tmp_path / name)


def test_images_inside_a_parquet_file_are_for_another_layout(tmp_path: Path) -> None:
    pd.DataFrame({"image": [{"bytes": b"x"}], "label": [0]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(DataError, match=r"holds a dict in a cell.*--layout huggingface"):
        listed(tmp_path)


def test_one_of_several_tables_has_to_be_named(tmp_path: Path) -> None:
    path = write_birds(tmp_path, **COLUMNS)
    (tmp_path / "more.csv").write_text(path.read_text())
    with pytest.raises(ConfigError, match=r"no single table .*birds\.csv, more\.csv.*name the file"):
        listed(tmp_path)
    assert len(listed(path)) == 12
    path.rename(tmp_path / "metadata.csv")
    assert listed(tmp_path).source.endswith("metadata.csv")


def test_an_attribute_that_makes_too_many_groups_is_refused(tmp_path: Path) -> None:
    rows = [{"image": f"{n}.png", "label": n % 2, "age": n} for n in range(80)]
    with pytest.raises(DataError, match="attribute 'age' has 80 different values; expected at most 64"):
        listed(write_table(tmp_path / "t.csv", rows), attributes=("age",))


def test_samples_that_belong_together_must_not_be_in_two_splits(tmp_path: Path) -> None:
    path = write_birds(tmp_path, **COLUMNS, lesion_id=lambda n: f"L{n // 3}")
    with pytest.raises(DataError, match=r"row 3: the split is val, yet .*row 2 has the same lesion_id"):
        listed(path, keep_together="lesion_id")
    bundles = listed(path, keep_together="lesion_id", split_column="none").bundles
    assert bundles is not None
    assert bundles.tolist() == [n // 3 for n in range(12)]


def test_rows_without_a_bundle_stand_alone(tmp_path: Path) -> None:
    path = write_birds(tmp_path, filename=lambda n: f"img/{n}.png", y=lambda n: n % 2, nest=lambda n: (n // 4) or "")
    bundles = listed(path, keep_together="nest").bundles
    assert bundles is not None
    assert len(set(bundles[:4].tolist())) == 4
    assert len(set(bundles.tolist())) == 4 + 2
    assert len(set(bundles[4:8].tolist())) == 1


def test_booleans_are_the_classes_of_a_known_format(tmp_path: Path) -> None:
    root = write_waterbirds(tmp_path / "birds")
    frame = pd.read_csv(root / "metadata.csv", dtype=str)
    expected = listed(root, WATERBIRDS)
    frame.assign(y=frame["y"].map({"0": "FALSE", "1": "TRUE"}), split=frame["split"] + ".0").to_csv(
        root / "metadata.csv", index=False
    )
    found = listed(root, WATERBIRDS)
    assert found.class_names == ("landbird", "waterbird")
    assert found.labels.tolist() == expected.labels.tolist()
    assert found.splits.tolist() == expected.splits.tolist()


def test_given_classes_are_read_as_the_cells_are(tmp_path: Path) -> None:
    path = write_birds(tmp_path, filename=lambda n: f"img/{n}.png", y=lambda n: f"{n % 2}.0")
    listing = listed(path, classes=("1", "0"))
    assert listing.class_names == ("1", "0")
    assert listing.labels.tolist() == [1 - n % 2 for n in range(12)]
    assert listed(path, classes=("1.0", "0")).class_names == ("1", "0")
