"""Tables with one row per image: CSV, TSV or Parquet, with the columns of well-known data sets or any others."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prusc.data.image_root import ImageRoot
from prusc.data.listing import NO_SPLIT, Listing, Problems
from prusc.data.splits import SPLIT_WORDS, check_bundles
from prusc.data.table_files import PLACE, SPLIT, find_tables, read_tables, whole_names
from prusc.data.values import MISSING, number_values, read_values, sort_values
from prusc.errors import ConfigError, DataError, nearest_names

NO_COLUMN = "none"

_MAX_VALUES = 64
# A column with more values is hardly an attribute.
_MAX_OFFERED_VALUES = 20
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class TableFormat:
    """A kind of table: the columns that identify it, and their default meaning.

    Attributes:
        layout: Name of the layout.
        description: Description for the user.
        required: Columns that identify the format; a table that has all of them is of this kind.
        files: Columns that may name the image; the first one that exists is used.
        targets: Columns that may hold the class.
        splits: Columns that may hold the split.
        attributes: Columns that are spurious attributes where they exist.
        class_names: Name of each class by its value in the table, in the order of the classes; empty if the values are
            names already.
        value_names: Names of the values of each attribute, in the same form.
        is_known_data: Whether the layout is the name of one data set, rather than a general format.
    """

    layout: str
    description: str
    required: tuple[str, ...] = ()
    files: tuple[str, ...] = (
        "img_filename",
        "filename",
        "file_name",
        "image_id",
        "isic_id",
        "image",
        "image_path",
        "path",
        "file",
    )
    targets: tuple[str, ...] = ("y", "label", "class", "target", "benign_malignant")
    splits: tuple[str, ...] = ("split", "partition")
    attributes: tuple[str, ...] = ("a", "place", "patches")
    class_names: Mapping[str, str] = field(default_factory=dict)
    value_names: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    is_known_data: bool = False


WATERBIRDS = TableFormat(
    "waterbirds",
    "Waterbirds (metadata.csv with img_filename, y, split, place)",
    required=("img_filename", "y", "split", "place"),
    attributes=("place",),
    class_names={"0": "landbird", "1": "waterbird"},
    value_names={"place": {"0": "land", "1": "water"}},
    is_known_data=True,
)
ISIC = TableFormat(
    "isic",
    "ISIC (metadata.csv with isic_id, benign_malignant; images by their id)",
    required=("isic_id", "benign_malignant"),
    files=("isic_id",),
    targets=("benign_malignant",),
    attributes=("patches",),
    class_names={"0": "benign", "1": "malignant", "benign": "benign", "malignant": "malignant"},
    value_names={"patches": {"0": "no patches", "1": "patches"}},
    is_known_data=True,
)
TABLE = TableFormat("table", "a table (one .csv, .tsv or .parquet: an image, its class, its split in each row)")


def list_table(
    path: Path,
    table_format: TableFormat,
    problems: Problems,
    *,
    target: str | None = None,
    attributes: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
    file_column: str | None = None,
    split_column: str | None = None,
    keep_together: str | None = None,
    image_folder: str | None = None,
) -> Listing:
    """Read a table of images.

    Args:
        path: The table, or the folder that holds it.
        table_format: Meaning of its columns.
        problems: Receives the problems of rows.
        target: Column of the class; ``None`` uses that of the format.
        attributes: Columns of the spurious attributes; ``None`` uses those of the format that exist.
        classes: Values that the class may have, in their order; ``None`` uses those that occur.
        file_column: Column that names the image; ``None`` uses that of the format.
        split_column: Column of the split; ``None`` uses that of the format, ``"none"`` uses no column.
        keep_together: Column whose equal values must stay in one split.
        image_folder: Folder that the names of the images are relative to, itself relative to the table's folder;
            ``None`` is the table's folder.

    Returns:
        The samples of the table.

    Raises:
        ConfigError: If a required column is not named, or there are several tables.
        DataError: If the table cannot be read or has no usable rows, or a row has a problem and problems are not
            collected.
    """
    tables = find_tables(path)
    folder = path if path.is_dir() else path.parent
    if not tables or (len(tables) > 1 and tables[0].parent == folder):
        found = ", ".join(table.name for table in tables) or "none"
        raise ConfigError(
            f"{path} has no single table with one row for each image ({found}); name the file: --data {folder}/NAME.csv"
        )
    frame = read_tables(tables, folder)
    columns = _choose_columns(
        frame, tables[0], table_format, target, attributes, file_column, split_column, keep_together
    )
    class_names_of = table_format.class_names if columns.target in table_format.targets else {}
    allowed = tuple(classes) if classes is not None else tuple(class_names_of)
    frame, allowed = _read_cells(frame, columns, allowed)
    rows = _Rows(frame, columns, problems)
    rows.drop_empty(columns.target, "label", "a class")
    if allowed:
        rows.drop_others(columns.target, "label", "class", allowed)
    if columns.split is not None:
        rows.drop_others(columns.split, "split", "split", tuple(SPLIT_WORDS))
    root = ImageRoot(folder if image_folder is None else folder / image_folder)
    images = rows.find_images(root)
    frame = rows.frame
    named = [class_names_of.get(value, value) for value in frame[columns.target]]
    order = tuple(dict.fromkeys(class_names_of.get(value, value) for value in allowed))
    labels, class_names = number_values(named, order or None)
    attribute_numbers, attribute_values = _number_attributes(frame, tables[0], columns.attributes)
    listing = Listing(
        name=table_format.layout if table_format.is_known_data else folder.absolute().name,
        layout=table_format.layout,
        root=folder,
        source=" and ".join(map(str, tables)),
        sample_ids=tuple(whole_names(frame, columns.file)),
        images=tuple(images),
        places=tuple(frame[PLACE]),
        labels=labels,
        class_names=class_names,
        splits=(
            np.full(len(frame), NO_SPLIT)
            if columns.split is None
            else np.array([SPLIT_WORDS[word] for word in frame[columns.split]], dtype=np.int64)
        ),
        attributes=attribute_numbers,
        attribute_names=columns.attributes,
        attribute_values=tuple(
            tuple(table_format.value_names.get(name, {}).get(value, value) for value in values)
            for name, values in zip(columns.attributes, attribute_values, strict=True)
        ),
        bundles=None if columns.bundle is None else _number_bundles(frame[columns.bundle].tolist()),
        origin={
            "tables": [table.relative_to(folder).as_posix() for table in tables],
            "file_column": columns.file,
            "target": columns.target,
            "attributes": list(columns.attributes),
            "split_column": columns.split or NO_COLUMN,
            **_offered_columns(frame, columns),
        },
        columns=_unused_columns(frame, columns),
    )
    if columns.split is not None and columns.bundle is not None:
        check_bundles(listing, columns.bundle, problems)
    return listing


# ------------------------------------------------------------------------------------------------------------ columns


@dataclass(frozen=True)
class _Columns:
    """Names of the columns and their roles."""

    file: str
    target: str
    split: str | None
    attributes: tuple[str, ...]
    bundle: str | None


def _choose_columns(
    frame: pd.DataFrame,
    path: Path,
    table_format: TableFormat,
    target: str | None,
    attributes: Sequence[str] | None,
    file_column: str | None,
    split_column: str | None,
    keep_together: str | None,
) -> _Columns:
    names = [name for name in frame.columns if not name.startswith("\0")]

    def choose(option: str, wanted: str | None, known: tuple[str, ...]) -> str | None:
        if wanted is not None and wanted not in names:
            raise ConfigError(
                f"table {path} has no column {wanted!r} ({option}){nearest_names(wanted, names)}; it has "
                f"{', '.join(names)}"
            )
        return wanted if wanted is not None else next((name for name in known if name in names), None)

    def need(option: str, wanted: str | None, known: tuple[str, ...], what: str) -> str:
        column = choose(option, wanted, known)
        if column is None:
            raise ConfigError(
                f"table {path} has none of the usual columns of {what} ({', '.join(known)}); it has "
                f"{', '.join(names) or 'no columns'}. Name the column with --data-options.{option.replace('_', '-')}"
            )
        return column

    if isinstance(attributes, str):
        raise ConfigError(
            f"attributes is the text {attributes!r}; expected a sequence of names, such as ({attributes!r},)"
        )
    split: str | None = SPLIT if SPLIT in frame.columns else None
    if split_column == NO_COLUMN:
        split = None
    elif split is None or split_column is not None:
        split = choose("split_column", split_column, table_format.splits)
    columns = _Columns(
        file=need("file_column", file_column, table_format.files, "the image"),
        target=need("target", target, table_format.targets, "the class"),
        split=split,
        attributes=tuple(
            str(choose("attributes", name, ()))
            for name in (attributes if attributes is not None else [a for a in table_format.attributes if a in names])
        ),
        bundle=choose("keep_together", keep_together, ()),
    )
    used = [name for name in (columns.file, columns.target, columns.split, *columns.attributes) if name is not None]
    repeated = sorted({name for name in used if used.count(name) > 1})
    if repeated:
        raise ConfigError(f"column {repeated[0]!r} of {path} is requested more than once; expected different columns")
    return columns


def _unused_columns(frame: pd.DataFrame, columns: _Columns) -> dict[str, list[str]]:
    """Return the columns that serve nothing else, by name; those whose values all differ identify a sample."""
    used = {columns.file, columns.target, columns.split, columns.bundle, *columns.attributes}
    free = [name for name in frame.columns if name not in used and not name.startswith("\0")]
    return {name: frame[name].tolist() for name in free if 1 < frame[name].nunique() < len(frame)}


def _offered_columns(frame: pd.DataFrame, columns: _Columns) -> dict[str, list[str]]:
    """Return the unused columns whose values are so few that they could be an attribute."""
    most = min(_MAX_OFFERED_VALUES, len(frame) // 2)
    few = [name for name in _unused_columns(frame, columns) if frame[name].nunique() <= most]
    return {"unused_columns": few} if few else {}


def _number_attributes(
    frame: pd.DataFrame, path: Path, names: tuple[str, ...]
) -> tuple[np.ndarray[tuple[int, ...], np.dtype[np.int64]], list[tuple[str, ...]]]:
    """Number the values of each attribute; an empty cell has the value "unknown"."""
    numbers = np.zeros((len(frame), len(names)), dtype=np.int64)
    values: list[tuple[str, ...]] = []
    for position, name in enumerate(names):
        cells = frame[name].replace(MISSING, _UNKNOWN)
        if cells.nunique() > _MAX_VALUES:
            raise DataError(
                f"table {path}: attribute {name!r} has {cells.nunique()} different values; expected at most "
                f"{_MAX_VALUES}, because each value makes a group per class"
            )
        known = sort_values(value for value in set(cells) if value != _UNKNOWN)
        ordered = (*known, *([_UNKNOWN] if _UNKNOWN in set(cells) else []))
        numbers[:, position], _ = number_values(cells, ordered)
        values.append(ordered)
    return numbers, values


def _read_cells(
    frame: pd.DataFrame, columns: _Columns, classes: tuple[str, ...]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Return the table with its values as every reader reads them, and the names of the classes in the same form."""
    read = {
        name: read_values(frame[name])
        for name in (columns.split, columns.bundle, *columns.attributes)
        if name is not None
    }
    targets = read_values(frame[columns.target])
    if set(targets) - {MISSING} <= {"True", "False"} and {"0", "1"} <= set(read_values(classes)):
        targets = [{"True": "1", "False": "0"}.get(value, value) for value in targets]
    # Together with the given classes, so that 1.0 in the table is the class 1, and the other way round.
    together = read_values([*targets, *classes])
    targets, classes = together[: len(frame)], tuple(together[len(frame) :])
    return frame.assign(**read, **{columns.target: targets}), classes


def _number_bundles(values: Sequence[str]) -> NDArray[np.int64]:
    """Number the bundles; a sample without one stands alone."""
    # No user's value begins with a null character.
    return number_values(value if value != MISSING else f"\0{row}" for row, value in enumerate(values))[0]


# --------------------------------------------------------------------------------------------------------------- rows


@dataclass
class _Rows:
    """The rows that are left after those with problems were dropped."""

    frame: pd.DataFrame
    columns: _Columns
    problems: Problems

    def _drop(self, kind: str, bad: "pd.Series[bool]", say: Callable[["pd.Series[str]"], str]) -> None:
        for _, row in self.frame[bad].iterrows():
            self.problems.add(kind, f"{row[PLACE]}: {say(row)}")
        self.frame = self.frame[~bad]

    def drop_empty(self, column: str, kind: str, what: str) -> None:
        """Drop rows without a value."""
        self._drop(kind, self.frame[column] == "", lambda _: f"column {column!r} is empty; expected {what}")

    def drop_others(self, column: str, kind: str, what: str, allowed: Sequence[str]) -> None:
        """Drop rows whose value is not allowed. Splits are compared in small letters."""
        if kind == "split":
            self.frame = self.frame.assign(**{column: self.frame[column].str.lower()})
        shown = ", ".join(allowed) if column != SPLIT else "a split"
        self._drop(
            kind,
            ~self.frame[column].isin(list(allowed)),
            lambda row: f"the {what} in column {column!r} is {row[column]!r}; expected one of {shown}",
        )

    def find_images(self, root: ImageRoot) -> list[Path]:
        """Find the file of each row; drop rows whose name leads out of the folder or occurred before."""
        seen: dict[Path, str] = {}
        images: list[Path] = []
        kept: list[bool] = []
        names = whole_names(self.frame, self.columns.file)
        for name, place in zip(names, self.frame[PLACE], strict=True):
            kept.append(False)
            try:
                found = root.find(name)
            except DataError as error:
                self.problems.add("path", f"{place}: {error}")
                continue
            image = root.folder / name if found is None else found
            if image in seen:
                self.problems.add(
                    "repeated", f"{place}: image {name!r} is listed again, first in {seen[image]}; expected it once"
                )
                continue
            seen[image] = place
            images.append(image)
            kept[-1] = True
        self.frame = self.frame[np.array(kept, dtype=np.bool_)]
        return images
