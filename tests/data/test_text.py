"""Tables of texts, with a tokenizer that counts letters."""

from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from prusc.data.batches import take_inputs
from prusc.data.table import Data
from prusc.data.text import load_text
from prusc.errors import PruscError


def count_letters(texts: list[str]) -> dict[str, Tensor]:
    return {"ids": torch.tensor([[len(text), text.count("a")] for text in texts])}


def write_table(folder: Path, **changes: object) -> Path:
    columns = {
        "words": [f"a{'b' * index}" for index in range(20)],
        "label": [2, 10] * 10,
        "split": ["train"] * 10 + ["val"] * 5 + ["TEST"] * 5,
        "long": ["yes", "no"] * 10,
    }
    frame = pd.DataFrame({name: value for name, value in (columns | changes).items() if value is not None})
    frame.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv"


def test_texts_become_tokens_with_their_class_split_and_attributes(tmp_path: Path) -> None:
    data = load_text(write_table(tmp_path), count_letters, text_column="words", attributes=("long",))
    assert data.class_names == ("2", "10"), "numbers in numerical order"
    assert [len(split) for split in data.splits.values()] == [10, 5, 5]
    assert data.val.labels.tolist() == [0, 1, 0, 1, 0]
    assert data.val.sample_ids[0] == "row 12: a" + "b" * 10
    assert data.attribute_values == (("no", "yes"),)
    batch = take_inputs(data.test.inputs, torch.tensor([4, 0]))
    assert isinstance(batch, dict)
    assert batch["ids"].tolist() == [[20, 1], [16, 1]]
    assert data.origin["num_tokens"] == 2


def test_splits_are_made_where_there_are_none_or_none_are_wanted(tmp_path: Path) -> None:
    def load(**options: str) -> Data:
        return load_text(tmp_path, count_letters, text_column="words", target="label", **options)  # type: ignore[arg-type]

    write_table(tmp_path)
    assert load(split_column="none").origin["made_splits"] == ["val", "test"]
    write_table(tmp_path, split=None)
    assert [len(split) for split in load().splits.values()] == [12, 4, 4]


@pytest.mark.parametrize(
    ("changes", "options", "message"),
    [
        ({}, {"text_column": "word"}, r"no column 'word' \(text_column\); did you mean words"),
        ({}, {"target": "lable"}, r"no column 'lable' \(target\); did you mean label\?"),
        ({"label": None, "kind": 1}, {}, "none of the usual columns .* Name the column with --data-options.target"),
        ({}, {"attributes": ("short",)}, r"no column 'short' \(attributes\)"),
        ({"words": ["a", "", *["b"] * 18]}, {}, r"t.csv, row 3: column 'words' is empty; expected a text"),
        ({"label": ["", *["b"] * 19]}, {}, "row 2: column 'label' is empty; expected a class"),
        ({"split": ["trian", *["val"] * 19]}, {}, "row 2: the split in column 'split' is 'trian'"),
        ({"split": ["val"] * 20}, {}, "names no training rows"),
        ({}, {"classes": ("2", "3")}, "class '10' is unknown"),
    ],
)
def test_what_is_missing_is_named(
    tmp_path: Path, changes: dict[str, object], options: dict[str, object], message: str
) -> None:
    arguments = {"text_column": "words"} | options
    with pytest.raises(PruscError, match=message):
        load_text(write_table(tmp_path, **changes), count_letters, **arguments)  # type: ignore[arg-type]


def test_one_table_is_expected(tmp_path: Path) -> None:
    with pytest.raises(PruscError, match="holds 0 tables; expected one"):
        load_text(tmp_path, count_letters, text_column="words")
