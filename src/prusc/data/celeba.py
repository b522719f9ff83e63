"""CelebA, from its official files or from Kaggle's copy of them."""

import csv
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from prusc.data.assembly import assemble_data
from prusc.data.image_root import ImageRoot
from prusc.data.images import DEFAULT_IMAGE_SIZE, DEFAULT_MEMORY_LIMIT_BYTES, Progress
from prusc.data.listing import Listing, Problems
from prusc.data.table import Data
from prusc.errors import ConfigError, DataError, nearest_names

ATTRIBUTE_FILE = "list_attr_celeba"
PARTITION_FILE = "list_eval_partition"
IMAGE_FOLDER = "img_align_celeba"

_SUFFIXES = (".txt", ".csv")
_FILE_NAME_COLUMN = "image_id"
_Row: TypeAlias = tuple[int, list[str]]


def load_celeba(
    root: str | Path,
    *,
    target: str = "Blond_Hair",
    attributes: Sequence[str] = ("Male",),
    image_size: int = DEFAULT_IMAGE_SIZE,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> Data:
    """Load CelebA with one of its attributes as the class and others as spurious attributes.

    Args:
        root: Folder of the data; see `list_celeba`.
        target: Attribute that is the class.
        attributes: Spurious attributes, for evaluation only; may be empty.
        image_size: Height and width of the images in pixels.
        memory_limit_bytes: Size up to which all images are held in memory; larger data sets are decoded one by one.
        num_threads: Number of decoding threads; ``None`` uses one per core.
        progress: Called with the number of images decoded so far and the number of all images.

    Returns:
        Classes ``("not <target>", "<target>")``, each split in the order of the attribute file.

    Raises:
        ConfigError: If a setting is out of range or an attribute is requested twice.
        DataError: If a file is missing, a row is malformed, the two lists disagree, or an image is missing or damaged.
    """
    return assemble_data(
        list_celeba(Path(root), Problems(), target=target, attributes=attributes),
        image_size,
        memory_limit_bytes=memory_limit_bytes,
        num_threads=num_threads,
        progress=progress,
    )


def list_celeba(
    root: Path,
    problems: Problems,
    *,
    target: str = "Blond_Hair",
    attributes: Sequence[str] = ("Male",),
) -> Listing:
    """Read the lists of CelebA.

    The folder has to hold ``img_align_celeba/``, ``list_attr_celeba.txt`` and ``list_eval_partition.txt``. Both lists
    may also be Kaggle's ``.csv`` files. Attributes are -1 and 1 (or 0 and 1), partitions 0 (train), 1 (val) and 2
    (test).

    Args:
        root: Folder of the data.
        problems: Receives the problems of rows.
        target: Attribute that is the class.
        attributes: Spurious attributes; may be empty.

    Returns:
        The samples of both lists, in the order of the attribute file.

    Raises:
        ConfigError: If an attribute is requested twice.
        DataError: If a file is missing, or a row is malformed and problems are not collected.

    References:
        Liu et al. 2015, "Deep Learning Face Attributes in the Wild", ICCV.
    """
    wanted = _wanted_columns(target, attributes)
    folder = _find_image_folder(root)
    labelled = _read_table(_find_table(root, ATTRIBUTE_FILE), wanted, problems, allowed=(-1, 0, 1))
    _check_two_values(labelled)
    partitioned = _read_table(
        _find_table(root, PARTITION_FILE), ("partition",), problems, allowed=(0, 1, 2), has_header=False
    )
    _check_same_images(labelled, partitioned, problems)

    row_of = {name: row for row, name in enumerate(partitioned.lines)}
    names = [name for name in labelled.lines if name in row_of]
    kept = np.array([row for row, name in enumerate(labelled.lines) if name in row_of], dtype=np.int64)
    images = ImageRoot(folder)
    found = []
    for position, name in enumerate(names):
        try:
            images.find(name)
        except DataError as error:
            problems.add("path", f"{labelled.path}, line {labelled.lines[name]}: {error}")
            continue
        found.append(position)
    names, kept = [names[position] for position in found], kept[found]
    values = (labelled.values[kept] == 1).astype(np.int64).reshape(-1, len(wanted))
    return Listing(
        name="celeba",
        layout="celeba",
        root=root,
        source=f"{partitioned.path} and {labelled.path}",
        sample_ids=tuple(names),
        images=tuple(folder / name for name in names),
        places=tuple(f"{labelled.path}, line {labelled.lines[name]}" for name in names),
        labels=values[:, 0],
        class_names=(f"not {target}", target),
        splits=partitioned.values[[row_of[name] for name in names], 0].astype(np.int64),
        attributes=values[:, 1:],
        attribute_names=tuple(attributes),
        attribute_values=tuple((f"not {name}", name) for name in attributes),
        origin={"target": target, "attributes": list(attributes)},
    )


@dataclass(frozen=True, eq=False)
class _Table:
    """The wanted columns of one list: one row of ``values`` and one line number of the file per image."""

    path: Path
    columns: tuple[str, ...]
    lines: dict[str, int]
    values: NDArray[np.int8]


def _wanted_columns(target: str, attributes: Sequence[str]) -> tuple[str, ...]:
    if isinstance(attributes, str):
        raise ConfigError(
            f"attributes is the text {attributes!r}; expected a sequence of names, such as ({attributes!r},)"
        )
    wanted = (target, *attributes)
    repeated = sorted({name for name in wanted if wanted.count(name) > 1})
    if repeated:
        raise ConfigError(
            f"{', '.join(repeated)} is requested more than once, with target {target!r} and attributes "
            f"{list(attributes)}; expected different attributes"
        )
    return wanted


def _find_image_folder(root: Path) -> Path:
    if not root.is_dir():
        raise DataError(
            f"{root} is not a folder; expected the folder that holds {IMAGE_FOLDER}/ and the lists of CelebA"
        )
    folder = root / IMAGE_FOLDER
    if not folder.is_dir():
        raise DataError(f"{root} has no folder {IMAGE_FOLDER}/; expected the aligned images of CelebA there")
    nested = folder / IMAGE_FOLDER  # Kaggle's archive unpacks to a folder in a folder of the same name.
    return nested if nested.is_dir() else folder


def _find_table(root: Path, stem: str) -> Path:
    for suffix in _SUFFIXES:
        if (root / f"{stem}{suffix}").is_file():
            return root / f"{stem}{suffix}"
    raise DataError(
        f"{root} has no {' or '.join(stem + suffix for suffix in _SUFFIXES)}; expected CelebA's own file there"
    )


def _read_rows(path: Path) -> Iterator[_Row]:
    """Yield the line number and the cells of each line that is not blank."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.reader(file) if path.suffix == ".csv" else (line.split() for line in file)
            for number, cells in enumerate(lines, start=1):
                if cells:
                    yield number, cells
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(
            f"{path} cannot be read as text ({error}); expected CelebA's own file: download it again"
        ) from error


def _read_table(
    path: Path, wanted: tuple[str, ...], problems: Problems, *, allowed: tuple[int, ...], has_header: bool = True
) -> _Table:
    """Read the wanted columns of a list.

    Other cells are dropped at once, because all 40 attributes of 200,000 images as text need hundreds of megabytes.

    Args:
        path: The list: the number of rows (optional), the names of the columns, one row per image.
        wanted: Names of the columns.
        problems: Receives the problems of rows.
        allowed: Values that the cells may have.
        has_header: Whether the names of the columns are required. If not, they are ``wanted`` and may be missing.

    Returns:
        The rows in the order of the file.
    """
    rows = _read_rows(path)
    num_declared, columns, first_row = _read_head(rows, None if has_header else wanted)
    positions = [_find_column(path, name, columns) + 1 for name in wanted]
    value_of = {str(value): value for value in allowed}
    lines: dict[str, int] = {}
    values: list[list[int]] = []
    num_rows = 0
    for number, cells in itertools.chain(first_row, rows):
        num_rows += 1
        if not _check_row(f"{path}, line {number}", cells, len(columns), lines, problems):
            continue
        wanted_cells = [cells[position].strip() for position in positions]
        bad = [(name, cell) for name, cell in zip(wanted, wanted_cells, strict=True) if cell not in value_of]
        if bad:
            problems.add(
                "label",
                f"{path}, line {number}: the value of {bad[0][0]} is {bad[0][1]!r}; "
                f"expected one of {', '.join(value_of)}",
            )
            continue
        lines[cells[0]] = number
        values.append([value_of[cell] for cell in wanted_cells])
    if num_declared is not None and num_declared != num_rows:
        problems.add(
            "label",
            f"{path}: the first line declares {num_declared} rows, found {num_rows}; expected the same number: the "
            "file is truncated or edited",
        )
    if not lines:
        raise DataError(f"{path} lists no images; expected one row per image")
    return _Table(path, wanted, lines, np.array(values, dtype=np.int8))


def _read_head(
    rows: Iterator[_Row], default_columns: tuple[str, ...] | None
) -> tuple[int | None, tuple[str, ...], list[_Row]]:
    """Read the declared number of rows, the names of the columns and, if there are no names, the first row.

    Args:
        rows: All rows; the head is consumed.
        default_columns: Names of the columns if the list has none; ``None`` requires names in the list.

    Returns:
        Declared number of rows or ``None``, names of the columns, and a list with the consumed first row or an empty
        one.
    """
    row = next(rows, (0, []))
    num_declared: int | None = None
    if len(row[1]) == 1 and row[1][0].strip().isdecimal():
        num_declared = int(row[1][0])
        row = next(rows, (0, []))
    names = row[1]
    if names[:1] == [_FILE_NAME_COLUMN]:
        return num_declared, tuple(names[1:]), []
    if default_columns is None:
        return num_declared, tuple(names), []
    return num_declared, default_columns, [row] if names else []


def _check_row(where: str, cells: list[str], num_columns: int, lines: dict[str, int], problems: Problems) -> bool:
    """Report a row that lacks cells, or whose file name is unsafe or occurred before."""
    name = cells[0]
    if len(cells) != num_columns + 1:
        problems.add(
            "label",
            f"{where}: found {len(cells)} cells, expected a file name and {num_columns} value(s): the file is "
            "truncated or edited",
        )
    elif name in ("", ".", "..") or any(mark in name for mark in "/\\\0"):
        message = f"{where}: {name!r} is not a plain file name; expected one without folders, such as 000001.jpg"
        problems.add("path", message)
    elif name in lines:
        message = f"{where}: image {name!r} is listed again, first in line {lines[name]}; expected it once"
        problems.add("repeated", message)
    else:
        return True
    return False


def _find_column(path: Path, name: str, columns: tuple[str, ...]) -> int:
    num_found = columns.count(name)
    if num_found == 0:
        raise DataError(
            f"{path} has no attribute {name!r}{nearest_names(name, columns)}; it has {', '.join(columns) or 'none'}"
        )
    if num_found > 1:
        raise DataError(f"{path} has {num_found} columns called {name!r}; expected one")
    return columns.index(name)


def _check_two_values(table: _Table) -> None:
    """Refuse columns that mix -1/1 and 0/1, because a 0 among -1 and 1 may mean "unknown"."""
    for position, column in enumerate(table.columns):
        values = table.values[:, position]
        if (values == -1).any() and (values == 0).any():
            name = list(table.lines)[int((values == 0).argmax())]
            raise DataError(
                f"{table.path}, line {table.lines[name]}: the value of {column} is 0, but other rows have -1; expected "
                "either -1 and 1 or 0 and 1"
            )


def _check_same_images(first: _Table, second: _Table, problems: Problems) -> None:
    for here, there in ((first, second), (second, first)):
        missing = [name for name in here.lines if name not in there.lines]
        if missing:
            problems.add(
                "split",
                f"{there.path} lacks {len(missing)} of the {len(here.lines)} images of {here.path}, the first is "
                f"{missing[0]!r} in line {here.lines[missing[0]]}; expected the same images in both",
            )
