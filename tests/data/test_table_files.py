from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prusc.data.table_files import PLACE, SPLIT, START, find_tables, read_columns, read_tables, whole_names
from prusc.errors import ConfigError, DataError


def write(path: Path, text: str = "image,label\na.png,x\n") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def cells(path: Path) -> list[list[str]]:
    """The cells of a table without the columns that reading adds."""
    frame = read_tables([path], path.parent)
    return frame[[name for name in frame.columns if not name.startswith("\0")]].to_numpy().tolist()


def test_a_table_that_is_named_is_the_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv")
    write(tmp_path / "metadata.csv")
    assert find_tables(path) == (path,)
    assert find_tables(write(tmp_path / "a.CSV")) == (tmp_path / "a.CSV",)
    assert find_tables(write(tmp_path / "notes.txt")) == ()


def test_of_several_tables_in_a_folder_metadata_is_the_one(tmp_path: Path) -> None:
    assert find_tables(tmp_path) == ()
    others = (write(tmp_path / "a.csv"), write(tmp_path / "b.tsv"))
    (tmp_path / "c.parquet").mkdir()
    assert find_tables(tmp_path) == others
    metadata = write(tmp_path / "metadata.csv")
    assert find_tables(tmp_path) == (metadata,)


def test_each_split_may_have_a_table_of_its_own(tmp_path: Path) -> None:
    tables = tuple(write(tmp_path / name / "labels.csv") for name in ("Train", "valid", "test"))
    write(tmp_path / "extra" / "labels.csv")
    assert find_tables(tmp_path) == tables
    write(tmp_path / "valid" / "more.csv")
    assert find_tables(tmp_path) == ()
    own = write(tmp_path / "all.csv")
    assert find_tables(tmp_path) == (own,)


def test_tables_of_splits_are_read_into_one(tmp_path: Path) -> None:
    write(tmp_path / "train" / "m.csv", "image,label\na.png,x\n,y\n")
    write(tmp_path / "test" / "m.csv", "image,place\nb.png,sea\n")
    frame = read_tables(find_tables(tmp_path), tmp_path)
    assert frame["image"].tolist() == ["a.png", "", "b.png"]
    # A column that one table lacks is empty in its rows.
    assert frame["label"].tolist() == ["x", "y", ""]
    assert frame["place"].tolist() == ["", "", "sea"]
    assert frame[SPLIT].tolist() == ["train", "train", "test"]
    assert frame[START].tolist() == ["train", "train", "test"]
    assert frame[PLACE].tolist() == [
        f"{tmp_path}/{p}/m.csv, row {row}" for p, row in (("train", 2), ("train", 3), ("test", 2))
    ]
    assert whole_names(frame, "image") == ["train/a.png", "", "test/b.png"]


def test_names_in_the_folders_own_table_begin_in_the_folder(tmp_path: Path) -> None:
    frame = read_tables([write(tmp_path / "m.csv", "image,label\nimg/a.png,x\n")], tmp_path)
    assert SPLIT not in frame.columns
    assert whole_names(frame, "image") == ["img/a.png"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a,b\n1,2\n", [["1", "2"]]),
        ("a,b\n01,NA\n1.0,null\n", [["01", "NA"], ["1.0", "null"]]),
        ("a,b\n x , y z \n", [["x", "y z"]]),
        ('a,b\n"x,1","y\n2"\n', [["x,1", "y\n2"]]),
        ("\ufeffa,b\n1,2\n", [["1", "2"]]),
        ("a,b\r\n1,2\r\n", [["1", "2"]]),
        ("a,b\n1\n", [["1", ""]]),
    ],
)
def test_cells_are_text_as_they_are_written(tmp_path: Path, text: str, expected: list[list[str]]) -> None:
    assert cells(write(tmp_path / "t.csv", text)) == expected
    assert read_columns(tmp_path / "t.csv") == ("a", "b")


def test_rows_are_counted_as_a_spreadsheet_counts_them(tmp_path: Path) -> None:
    """Empty lines are no samples, yet they count."""
    path = write(tmp_path / "t.csv", "a,b\n\n1,2\n,\n3,4\n")
    frame = read_tables([path], tmp_path)
    assert frame["a"].tolist() == ["1", "3"]
    assert frame[PLACE].tolist() == [f"{path}, row 3", f"{path}, row 5"]


def test_cells_of_parquet_are_written_as_csv_would(tmp_path: Path) -> None:
    frame = pd.DataFrame(
        {
            "id": [1, 2, 3],
            "share": [0.5, 2.0, np.nan],
            "is_bird": [True, False, None],
            "name": ["x ", None, "z"],
        }
    )
    frame.to_parquet(tmp_path / "t.parquet")
    assert cells(tmp_path / "t.parquet") == [
        ["1", "0.5", "True", "x"],
        ["2", "2", "False", ""],
        ["3", "", "", "z"],
    ]
    assert read_columns(tmp_path / "t.parquet") == ("id", "share", "is_bird", "name")


def test_columns_of_the_same_name_are_refused(tmp_path: Path) -> None:
    for ending, text in (("tsv", "a\ta \n1\t2\n"), ("tsv", "a\tb\ta\n1\t2\t3\n"), ("csv", '"a",b,a\n1,2,3\n')):
        path = write(tmp_path / f"t.{ending}", text)
        with pytest.raises(DataError, match=rf"t\.{ending} has several columns called 'a'; expected one"):
            read_tables([path], tmp_path)
        assert read_columns(path) == ()
    # What pandas would call the second of two such columns may be a name.
    assert read_columns(write(tmp_path / "t.csv", "a,a.1,,\n1,2,3,4\n"))[:2] == ("a", "a.1")


def test_a_cell_that_no_column_names_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "a,b\n1,2,3\n")
    with pytest.raises(DataError, match="rows with more cells than the first row has names; expected the same number"):
        read_tables([path], tmp_path)


def test_the_missing_package_of_parquet_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: Path) -> None:
        raise ImportError("no pyarrow")

    path = write(tmp_path / "t.parquet", "PAR1")
    monkeypatch.setattr(pd, "read_parquet", missing)
    with pytest.raises(ConfigError, match=r"package pyarrow is not installed: pip install prusc\[parquet\]"):
        read_tables([path], tmp_path)
    # Recognising a layout must not fail because of a table that it does not need.
    assert read_columns(path) == ()
