"""Tables with a column of text: tokens in place of images."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor
from torch.utils.data import Dataset

from prusc.data.parts import Part
from prusc.data.splits import SPLIT_WORDS
from prusc.data.table import SPLIT_NAMES, Data
from prusc.data.table_files import PLACE, SPLIT, find_tables, read_tables
from prusc.data.tables import NO_COLUMN, TABLE
from prusc.errors import ConfigError, DataError, nearest_names

# Length of the text in the name of a sample, so that tables and reports can be read.
_NAME_LENGTH = 80

Tokenize = Callable[[list[str]], Mapping[str, Tensor]]
"""Function that returns, for texts, tensors of equal length by the names of the network's arguments."""


@dataclass(frozen=True, eq=False)
class TokenInputs(Dataset[Mapping[str, Tensor]]):
    """Tokens of texts.

    Attributes:
        tensors: One row per text, by the names of the network's arguments.
    """

    tensors: Mapping[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {name: values[index] for name, values in self.tensors.items()}


def load_text(
    path: Path,
    tokenize: Tokenize,
    *,
    text_column: str,
    target: str | None = None,
    attributes: Sequence[str] = (),
    classes: Sequence[str] | None = None,
    split_column: str | None = None,
    seed: int = 0,
) -> Data:
    """Load a table with one text per row.

    Args:
        path: CSV, TSV or Parquet file, or the folder that holds it.
        tokenize: Turns texts into tensors.
        text_column: Column of the text.
        target: Column of the class; ``None`` looks for a usual name.
        attributes: Columns of attributes, for evaluation only.
        classes: Values of the class in their order; ``None`` sorts those that occur.
        split_column: Column of the split; ``None`` looks for a usual name, ``"none"`` makes the splits.
        seed: Seed of the splits that are made.

    Returns:
        The data; the name of a sample is its row and the beginning of its text.

    Raises:
        ConfigError: If a column does not exist.
        DataError: If the table cannot be read, or a row lacks its text, class or split.
    """
    tables = find_tables(path)
    folder = path if path.is_dir() else path.parent
    if len(tables) != 1:
        raise ConfigError(f"{path} holds {len(tables)} tables; expected one CSV, TSV or Parquet file with the texts")
    frame = read_tables(tables, folder)
    columns = _Columns(frame, path)
    text = columns.need(text_column, (), "text_column")
    label = columns.need(target, TABLE.targets, "target")
    split = None if split_column == NO_COLUMN else columns.find(split_column, (SPLIT, *TABLE.splits), "split_column")
    for name, what in ((text, "a text"), (label, "a class")):
        empty = frame[frame[name] == ""]
        if len(empty):
            raise DataError(f"{empty[PLACE].iloc[0]}: column {name!r} is empty; expected {what}")
    names = [columns.need(name, (), "attributes") for name in attributes]
    tokens = tokenize(frame[text].tolist())
    whole = Part(
        inputs=TokenInputs(tokens),
        labels=frame[label].to_numpy(dtype=object),
        sample_ids=tuple(f"row {number}: {words[:_NAME_LENGTH]}" for number, words in enumerate(frame[text], start=2)),
        attributes={name: frame[name].replace("", "unknown").to_numpy(dtype=object) for name in names},
    )
    origin = {
        "layout": "text",
        "root": str(path.absolute()),
        "text_column": text,
        "target": label,
        "num_tokens": next(iter(tokens.values())).shape[1],
    }
    parts = {"train": whole, "val": None, "test": None} if split is None else _divide(whole, frame, split)
    return Data.from_parts(parts, path.stem, classes, seed=seed, origin=origin)


@dataclass(frozen=True, eq=False)
class _Columns:
    """Finds the columns of a table."""

    frame: pd.DataFrame
    path: Path

    def find(self, wanted: str | None, usual: Sequence[str], option: str) -> str | None:
        names = list(self.frame.columns)
        if wanted is not None and wanted not in names:
            shown = [name for name in names if not name.startswith("\0")]
            raise ConfigError(
                f"table {self.path} has no column {wanted!r} ({option}){nearest_names(wanted, shown)}; it has "
                f"{', '.join(shown)}"
            )
        return wanted if wanted is not None else next((name for name in usual if name in names), None)

    def need(self, wanted: str | None, usual: Sequence[str], option: str) -> str:
        found = self.find(wanted, usual, option)
        if found is None:
            shown = ", ".join(name for name in self.frame.columns if not name.startswith("\0"))
            raise ConfigError(
                f"table {self.path} has none of the usual columns ({', '.join(usual)}); it has {shown}. Name the "
                f"column with --data-options.{option.replace('_', '-')}"
            )
        return found


def _divide(whole: Part, frame: pd.DataFrame, column: str) -> dict[str, Part | None]:
    words = frame[column].str.lower()
    unknown = frame[~words.isin(SPLIT_WORDS.keys())]
    if len(unknown):
        raise DataError(
            f"{unknown[PLACE].iloc[0]}: the split in column {column!r} is {unknown[column].iloc[0]!r}; expected one of "
            f"{', '.join(SPLIT_WORDS)}"
        )
    numbers = np.array([SPLIT_WORDS[word] for word in words])
    rows = {name: np.flatnonzero(numbers == number) for number, name in enumerate(SPLIT_NAMES)}
    if not len(rows["train"]):
        raise DataError(f"column {column!r} names no training rows; expected some")
    return {name: whole.take(own) if len(own) else None for name, own in rows.items()}
