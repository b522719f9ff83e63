"""Every reader reads the cells of a column in one way, and orders them in one way."""

from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pandas as pd
import pytest

from prusc.data import load_data, load_huggingface
from prusc.data.values import number_values, read_values, sort_values
from tests.data.folders import write_image


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["10", "9", "b"], ("10", "9", "b")),
        (["1.5", "10", "9"], ("1.5", "9", "10")),
        (["1e1", "-0.5", "9"], ("-0.5", "9", "1e1")),
        (["010", "9"], ("9", "010")),
        (["b", "B", "a", "ä"], ("B", "a", "b", "ä")),
        (["", "1"], ("", "1")),
        ([], ()),
    ],
)
def test_only_numbers_are_sorted_as_numbers(values: list[str], expected: tuple[str, ...]) -> None:
    assert sort_values(values) == expected


def test_values_are_numbered_in_their_order_or_in_a_given_one() -> None:
    values = ["b", "a", "c", "a"]
    numbers, names = number_values(values)
    assert (numbers.tolist(), names) == ([1, 0, 2, 0], ("a", "b", "c"))
    numbers, names = number_values(iter(values), ["c", "never", "b", "a"])
    assert (numbers.tolist(), names) == ([2, 3, 0, 3], ("c", "never", "b", "a"))
    assert numbers.dtype == np.int64
    assert [names[number] for number in numbers] == values


@pytest.mark.parametrize(
    ("cells", "expected"),
    [
        (["1.0", "1", "1e0", "+1", " 1 "], ["1"] * 5),
        (["0.10", "0.1", "-0.0"], ["0.1", "0.1", "0"]),
        (["12345678901234567890", "2"], ["12345678901234567890", "2"]),
        (["TRUE", "False", "true", ""], ["True", "False", "True", ""]),
        (["1", "nan", "NA", "None", "", "null", "2.0"], ["1", "", "", "", "", "", "2"]),
        (["cat", "NaN", "null", "NA", "none", "<NA>"], ["cat", "", "", "NA", "none", ""]),
        # Codes and names are no numbers.
        (["01", "1.0"], ["01", "1.0"]),
        (["1.0", "x"], ["1.0", "x"]),
        (["1e999", "2.0"], ["1e999", "2.0"]),
        (["NA", "none"], ["NA", "none"]),
        (["", "nan"], ["", ""]),
        ([], []),
    ],
)
def test_cells_are_read_in_one_way(cells: list[str], expected: list[str]) -> None:
    assert read_values(cells) == expected


COLUMNS: dict[str, list[Any]] = {
    "whole": [10, 9, 0] * 8,
    "floats": [10.0, 9.0, 0.5] * 8,
    "booleans": [True, False, False] * 8,
    "texts": ["b", "B", "a"] * 8,
}


@pytest.mark.parametrize("column", COLUMNS)
def test_all_readers_give_the_same_classes(column: str, tmp_path: Path) -> None:
    """The right order is that of Python, which sorts the values themselves."""
    values = COLUMNS[column]
    names = [f"{number}.png" for number in range(len(values))]
    for number, name in enumerate(names):
        write_image(tmp_path / "t" / name, number)
    frame = pd.DataFrame({"image": names, "label": values, "split": ([0] * 12 + [1] * 6 + [2] * 6)})
    paths = {ending: tmp_path / "t" / f"t.{ending}" for ending in ("csv", "tsv", "parquet")}
    frame.to_csv(paths["csv"], index=False)
    frame.to_csv(paths["tsv"], index=False, sep="\t")
    frame.to_parquet(paths["parquet"])
    found = [load_data(str(path), image_size=4) for path in paths.values()]
    parts = {}
    for split, (start, stop) in {"train": (0, 12), "validation": (12, 18), "test": (18, 24)}.items():
        rows = {"image": [str(tmp_path / "t" / name) for name in names[start:stop]], "label": values[start:stop]}
        parts[split] = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    found.append(load_huggingface(datasets.DatasetDict(parts), target="label", image_size=4))
    ordered = sorted(set(values))
    for data in found:
        assert data.class_names == tuple(f"{v:g}" if isinstance(v, float) else str(v) for v in ordered)
        assert data.train.labels.tolist() == [ordered.index(value) for value in values[:12]]


def test_missing_values_are_alike_in_all_readers(tmp_path: Path) -> None:
    places = [1.0, None, 0.0, np.nan] * 6
    names = [f"{number}.png" for number in range(24)]
    for number, name in enumerate(names):
        write_image(tmp_path / "t" / name, number)
    labels = ["a", "b", "b"] * 8
    frame = pd.DataFrame({"image": names, "label": labels, "split": [0] * 12 + [1] * 6 + [2] * 6, "place": places})
    frame.to_csv(tmp_path / "t" / "plain.csv", index=False)
    frame.to_csv(tmp_path / "t" / "words.csv", index=False, na_rep="NaN")
    frame.to_parquet(tmp_path / "t" / "t.parquet")
    found = [load_data(str(path), image_size=4, attributes=("place",)) for path in (tmp_path / "t").glob("*.*[vt]")]
    rows = {"image": [str(tmp_path / "t" / name) for name in names], "label": labels, "place": places}
    dataset = datasets.Dataset.from_dict(rows).cast_column("image", datasets.Image())
    parts = {n: dataset.select(range(*r)) for n, r in {"train": (0, 12), "val": (12, 18), "test": (18, 24)}.items()}
    found.append(load_huggingface(datasets.DatasetDict(parts), target="label", attributes=("place",), image_size=4))
    assert len(found) == 4
    for data in found:
        assert data.attribute_values == (("0", "1", "unknown"),)
        assert data.train.attributes is not None
        assert data.train.attributes[:4, 0].tolist() == [1, 2, 0, 2]
