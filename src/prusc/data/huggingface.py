"""Data sets of Hugging Face's `datasets`: an object, a folder that `save_to_disk` wrote, or a name on the hub."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prusc.data.images import MadeImage, decode_bytes, decode_file
from prusc.data.listing import NO_SPLIT, Listing, Problems
from prusc.data.splits import SPLIT_WORDS
from prusc.data.values import MISSING, number_values, read_values, sort_values
from prusc.errors import ConfigError, DataError, nearest_names

HUB_PREFIX = "hf:"
_MARKS = ("dataset_dict.json", "dataset_info.json")


def is_saved_dataset(root: Path) -> bool:
    """Whether `save_to_disk` wrote the folder."""
    return any((root / mark).is_file() for mark in _MARKS)


@dataclass(frozen=True, eq=False)
class EmbeddedImage(MadeImage):
    """An image in a row of a data set.

    Attributes:
        rows: The data set, with images that are not decoded.
        index: Index of the row.
        column: Column of the image.
        place: Name of the image in errors.
        resample: How pixels are interpolated.
    """

    rows: Any
    index: int
    column: str
    place: str
    resample: Image.Resampling = Image.Resampling.BILINEAR

    def with_resampling(self, resample: Image.Resampling) -> "EmbeddedImage":
        """Return the same image, resized with another interpolation."""
        return replace(self, resample=resample)

    def decode(self, size: int) -> NDArray[np.uint8]:
        """Return the image as an RGB square [size, size, 3]."""
        try:
            cell = self.rows[self.index][self.column]
        except Exception as error:  # Damaged Arrow files raise many kinds of errors.
            raise DataError(
                f"{self.place} cannot be read ({type(error).__name__}: {error}); save the data again"
            ) from error
        if cell is None or (cell["bytes"] is None and cell["path"] is None):
            raise DataError(f"{self.place} has no image; expected one in column {self.column!r}")
        if cell["bytes"] is None:
            return decode_file(Path(cell["path"]), size, self.resample)
        return decode_bytes(cell["bytes"], self.place, size, self.resample)


def open_dataset(name: str) -> Any:
    """Open a folder that `save_to_disk` wrote, or load a data set from the hub.

    Args:
        name: Path of the folder, or ``hf:`` and a name on the hub.

    Returns:
        A `datasets.Dataset` or `DatasetDict`.

    Raises:
        ConfigError: If the package `datasets` is missing.
        DataError: If the data set cannot be opened.
    """
    try:
        import datasets
    except ImportError as error:
        raise ConfigError(
            f"data {name!r} is a data set of Hugging Face, but the package datasets is not installed: "
            "pip install prusc[hf]"
        ) from error
    try:
        if name.startswith(HUB_PREFIX):
            return datasets.load_dataset(name.removeprefix(HUB_PREFIX))
        return datasets.load_from_disk(name)
    except Exception as error:  # Network, Arrow and JSON raise their own errors.
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise DataError(
            f"data {name!r} cannot be opened ({reason}); expected {HUB_PREFIX} and a name on the hub, "
            "or a folder that save_to_disk wrote"
        ) from error


def list_dataset(
    dataset: Any,
    problems: Problems,
    *,
    name: str = "huggingface",
    target: str | None = None,
    attributes: Sequence[str] = (),
    file_column: str | None = None,
) -> Listing:
    """List the rows of a `datasets.Dataset` or `DatasetDict`.

    Args:
        dataset: Data set with splits named as in `prusc.data.splits.SPLIT_WORDS`; a `Dataset` has none.
        problems: Receives the problems of rows.
        name: Name of the data.
        target: Column of the class; ``None`` is ``label``, or the only column with class names.
        attributes: Columns of the spurious attributes.
        file_column: Column of the image; ``None`` is the first column of images.

    Returns:
        The rows, split by split.

    Raises:
        ConfigError: If a column is missing.
        DataError: If a split has an unknown name or a row has a problem, and problems are not collected.
    """
    import datasets

    parts = dict(dataset) if isinstance(dataset, dict) else {"": dataset}
    features = next(iter(parts.values())).features
    of_images = [column for column, feature in features.items() if isinstance(feature, datasets.Image)]
    with_names = [column for column, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    image_column = _choose(file_column, of_images, features, "file_column", "images")
    target = _choose(target, ["label"] if "label" in features else with_names, features, "target", "classes")
    for attribute in attributes:
        _choose(attribute, [], features, "attributes", "an attribute")
    columns = (target, *attributes)
    images: list[EmbeddedImage] = []
    splits: list[int] = []
    texts: list[list[str]] = [[] for _ in columns]
    for part, rows in parts.items():
        if part and part.lower() not in SPLIT_WORDS:
            problems.add(
                "split",
                f"{name}: split {part!r} is unknown; expected one of {', '.join(SPLIT_WORDS)}: rename or remove it",
            )
            continue
        _check_columns(rows.features, (image_column, *columns), name, part)
        undecoded = rows.cast_column(image_column, datasets.Image(decode=False))
        images += [
            EmbeddedImage(undecoded, index, image_column, f"{name}{f', split {part}' if part else ''}, row {index}")
            for index in range(len(rows))
        ]
        splits += [SPLIT_WORDS[part.lower()] if part else NO_SPLIT] * len(rows)
        for position, column in enumerate(columns):
            # Each split may number its class names in its own way, so the names are what is compared.
            known = getattr(rows.features[column], "names", None)
            texts[position] += [_as_text(value, known) for value in rows[column]]
    # The first split to have names decides their order, which a network that was trained on it has too.
    names_of = {
        column: tuple(
            dict.fromkeys(name for rows in parts.values() for name in getattr(rows.features.get(column), "names", ()))
        )
        for column in columns
    }
    texts = [values if names_of[column] else read_values(values) for column, values in zip(columns, texts, strict=True)]
    kept = [index for index, value in enumerate(texts[0]) if value != MISSING]
    for index in sorted(set(range(len(images))) - set(kept)):
        problems.add("label", f"{images[index].place}: column {target!r} has no value; expected a class")
    places = [images[index].place for index in kept]
    numbers, names = [], []
    for column, values in zip(columns, texts, strict=True):
        chosen = [values[index] if values[index] != MISSING else "unknown" for index in kept]
        known_names = names_of[column]
        others = sort_values(set(chosen) - {*known_names, "unknown"})
        ordered = (*known_names, *others)
        if "unknown" in chosen and "unknown" not in ordered:
            ordered = (*ordered, "unknown")
        column_numbers, column_names = number_values(chosen, ordered)
        numbers.append(column_numbers)
        names.append(column_names)
    images = [images[index] for index in kept]
    splits = [splits[index] for index in kept]
    return Listing(
        name=name,
        layout="huggingface",
        root=Path(name),
        source=name,
        sample_ids=tuple(place.removeprefix(f"{name}, ") for place in places),
        images=tuple(images),
        places=tuple(places),
        labels=numbers[0],
        class_names=names[0],
        splits=np.array(splits, dtype=np.int64),
        attributes=np.stack(numbers[1:], axis=1) if attributes else np.zeros((len(images), 0), dtype=np.int64),
        attribute_names=tuple(attributes),
        attribute_values=tuple(names[1:]),
        origin={"target": target, "attributes": list(attributes), "file_column": image_column},
    )


def _choose(wanted: str | None, usual: Sequence[str], features: Any, option: str, what: str) -> str:
    if wanted is not None and wanted not in features:
        raise ConfigError(
            f"the data have no column {wanted!r} ({option}){nearest_names(wanted, features)}; they have "
            f"{', '.join(features)}"
        )
    if wanted is None and not usual:
        raise ConfigError(
            f"the data have no usual column of {what}; they have {', '.join(features)}. Name the column with "
            f"--data-options.{option.replace('_', '-')}"
        )
    return usual[0] if wanted is None else wanted


def _check_columns(features: Any, columns: Sequence[str], name: str, part: str) -> None:
    """Check that a split has the columns of the first one."""
    for column in columns:
        if column not in features:
            raise DataError(
                f"{name}, split {part}: column {column!r} is missing; it has {', '.join(features)}: expected the "
                "columns of the first split"
            )


def _as_text(value: Any, known: Sequence[str] | None) -> str:
    """Return a cell as text; datasets marks a class that is not known by -1."""
    if value is None or (known is not None and value < 0):
        return MISSING
    return str(value) if known is None else known[value]
