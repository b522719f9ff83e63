"""Table files (CSV, TSV and Parquet) as text: every cell as it is written, and the row that it is in."""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prusc.data.splits import SPLIT_WORDS
from prusc.errors import ConfigError, DataError

TABLE_SUFFIXES = (".csv", ".tsv", ".parquet")

# Names of our own columns. No user's column begins with a null character.
PLACE = "\0place"
START = "\0start"
SPLIT = "\0split"


def find_tables(path: Path) -> tuple[Path, ...]:
    """Find the tables that describe a folder: one in the folder, or one in the folder of each split.

    Args:
        path: A folder, or a table itself.

    Returns:
        The table in the folder, or the table of each split; ``path`` itself if it is a table. If a folder has several
        tables, ``metadata`` if there is one, else all of them. Empty if there are none.
    """
    if path.is_file():
        return (path,) if path.suffix.lower() in TABLE_SUFFIXES else ()
    own = _tables_in(path)
    named = [table for table in own if table.stem == "metadata"]
    if own:
        return tuple(named[:1] or own)
    in_splits = [
        (SPLIT_WORDS[f.name.lower()], f) for f in path.iterdir() if f.is_dir() and f.name.lower() in SPLIT_WORDS
    ]
    found = [_tables_in(folder) for _, folder in sorted(in_splits)]
    return tuple(tables[0] for tables in found) if found and all(len(tables) == 1 for tables in found) else ()


def _tables_in(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in TABLE_SUFFIXES and p.is_file())


def read_columns(path: Path) -> tuple[str, ...]:
    """Return the names of a table's columns; empty if it cannot be read."""
    try:
        return tuple(_read_table(path, num_rows=1).columns)
    except (DataError, ConfigError):
        return ()


def read_tables(tables: Sequence[Path], folder: Path) -> pd.DataFrame:
    """Read tables as text into one frame.

    Args:
        tables: The tables.
        folder: Folder of the data.

    Returns:
        All rows with added columns. ``PLACE`` is the row's place, for errors. ``START`` is the table's folder, which
        image names are relative to. ``SPLIT`` exists for tables in a split's folder.

    Raises:
        ConfigError: If a package is missing that reads the file.
        DataError: If a table cannot be read.
    """
    frames = []
    for table in tables:
        frame = _read_table(table)
        frame[PLACE] = [f"{table}, row {number}" for number in frame.index]
        frame[START] = table.parent.relative_to(folder).as_posix()
        if table.parent != folder and table.parent.name.lower() in SPLIT_WORDS:
            frame[SPLIT] = table.parent.name.lower()
        frames.append(frame)
    return pd.concat(frames, ignore_index=True).fillna("") if len(frames) > 1 else frames[0]


def _read_table(path: Path, num_rows: int | None = None) -> pd.DataFrame:
    """Read a table as text. The index counts as a spreadsheet does: the names of the columns are in row 1."""
    try:
        if path.suffix.lower() == ".parquet":
            frame = _as_text(pd.read_parquet(path).reset_index(drop=True), path)
        else:
            options: dict[str, Any] = {
                "sep": "\t" if path.suffix.lower() == ".tsv" else ",",
                "dtype": str,
                "keep_default_na": False,
                "skip_blank_lines": False,
                "skipinitialspace": True,
                "encoding": "utf-8-sig",
            }
            frame = pd.read_csv(path, nrows=num_rows, **options)
            # pandas calls the second of two equal columns y.1, so the names are also read as they are written.
            written = pd.read_csv(path, nrows=1, header=None, **options).iloc[0].str.strip().tolist()
            _check_names([name for name in written if name], path)
            if not isinstance(frame.index, pd.RangeIndex):
                raise DataError(
                    f"table {path} has rows with more cells than the first row has names; expected the same number"
                )
    except ImportError as error:
        raise ConfigError(
            f"{path} is a Parquet file, but the package pyarrow is not installed: pip install prusc[parquet]"
        ) from error
    except DataError:
        raise
    except Exception as error:  # pandas and pyarrow raise many kinds of errors for a damaged file.
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise DataError(
            f"table {path} cannot be read ({reason}); expected CSV, TSV or Parquet with the names of the columns in "
            "the first row"
        ) from error
    frame.index = pd.RangeIndex(2, len(frame) + 2)
    frame.columns = [str(name).strip() for name in frame.columns]
    _check_names(list(frame.columns), path)
    frame = frame.fillna("").apply(lambda column: column.str.strip())
    filled: pd.DataFrame = frame[(frame != "").any(axis=1)] if len(frame.columns) else frame
    return filled


def _check_names(names: Sequence[str], path: Path) -> None:
    repeated = sorted(name for name, number in Counter(names).items() if number > 1)
    if repeated:
        raise DataError(f"table {path} has several columns called {repeated[0]!r}; expected one")


def _as_text(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """Write the cells of a Parquet file as a CSV file would: whole numbers without a decimal point."""

    def text(value: object) -> str:
        if value is None or value is pd.NA or value != value:
            return ""
        if isinstance(value, dict | list | np.ndarray | bytes):
            raise DataError(
                f"table {path} holds a {type(value).__name__} in a cell; expected text and numbers. For images inside "
                "the table use --layout huggingface"
            )
        return (
            str(int(value))
            if isinstance(value, float | np.floating) and math.isfinite(value) and value == int(value)
            else str(value)
        )

    return frame.map(text)


def whole_names(frame: pd.DataFrame, column: str) -> list[str]:
    """Return the image names relative to the data set's folder, rather than to the folder of a split's own table."""
    return [
        name if start == "." or not name else f"{start}/{name}"
        for name, start in zip(frame[column], frame[START], strict=True)
    ]
