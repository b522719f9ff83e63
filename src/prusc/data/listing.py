"""What a layout says about its images before any of them is decoded, and what is wrong with what it says."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prusc.data.images import ImageSource
from prusc.errors import DataError

NO_SPLIT = -1
"""Stands for the split of a sample that the layout gives none."""


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a data set.

    Attributes:
        kind: ``label``, ``split``, ``path``, ``missing``, ``unreadable``, ``repeated``, ``shared`` (in two splits),
            ``ignored`` (a file that is no image) or ``class`` (without images for training).
        message: What was found, where, what was expected and what to do.
    """

    kind: str
    message: str


class Problems:
    """Takes what a reader finds wrong: stops at the first problem, or collects them all.

    Args:
        collect: Collect, so that the reader goes on without the sample.
    """

    def __init__(self, *, collect: bool = False) -> None:
        self._collect = collect
        self.found: list[Problem] = []

    def add(self, kind: str, message: str) -> None:
        """Take one problem.

        Raises:
            DataError: With this message, unless problems are collected.
        """
        if not self._collect:
            raise DataError(message)
        self.found.append(Problem(kind, message))

    def note(self, kind: str, message: str) -> None:
        """Take a problem that need not stop anybody: it is forgotten unless problems are collected."""
        if self._collect:
            self.found.append(Problem(kind, message))


@dataclass(frozen=True, eq=False)
class Listing:
    """The samples of a data set, one entry each, in the order of the table or folder that names them.

    Attributes:
        name: What the data set is called in reports.
        layout: Name of the layout.
        root: The folder.
        source: The files that say all this, for errors.
        sample_ids: A name for each sample; unique.
        images: Where the images come from.
        places: Where each sample is named, such as a table and its row, for errors.
        labels: Class of each sample.
        class_names: One name per class.
        splits: Index into ``SPLIT_NAMES``, or ``NO_SPLIT``.
        attributes: Value of each attribute, [samples, attributes].
        attribute_names: One name per attribute.
        attribute_values: For each attribute the names of its values.
        masks: White where the object of each image is; ``None`` for an image without, or if there are none at all.
        bundles: Samples of the same number must not be divided among splits; ``None`` if each stands alone.
        origin: Settings that made the listing, for the run folder.
    """

    name: str
    layout: str
    root: Path
    source: str
    sample_ids: tuple[str, ...]
    images: tuple[ImageSource, ...]
    places: tuple[str, ...]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    splits: NDArray[np.int64]
    attributes: NDArray[np.int64]
    attribute_names: tuple[str, ...] = ()
    attribute_values: tuple[tuple[str, ...], ...] = ()
    masks: tuple[Path | None, ...] | None = None
    bundles: NDArray[np.int64] | None = None
    origin: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sample_ids:
            raise DataError(f"{self.source} names no images that can be used; expected one for each sample")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "Listing":
        """Return the samples of these indices, in this order."""
        order = indices.tolist()
        return replace(
            self,
            sample_ids=tuple(self.sample_ids[index] for index in order),
            images=tuple(self.images[index] for index in order),
            places=tuple(self.places[index] for index in order),
            labels=self.labels[indices],
            splits=self.splits[indices],
            attributes=self.attributes[indices],
            masks=None if self.masks is None else tuple(self.masks[index] for index in order),
            bundles=None if self.bundles is None else self.bundles[indices],
        )


def number_values(
    values: Iterable[str], names: Iterable[str] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the different values of a column: whole numbers in their order, anything else in that of the alphabet.

    Args:
        values: One a sample.
        names: The different values in the order that counts; ``None`` sorts those that occur.

    Returns:
        The number of each value, and the values by number.
    """
    values = list(values)
    ordered = sort_values(set(values)) if names is None else tuple(names)
    numbers = {name: number for number, name in enumerate(ordered)}
    return np.array([numbers[value] for value in values], dtype=np.int64), ordered


def sort_values(values: Iterable[str]) -> tuple[str, ...]:
    """Sort texts, as numbers if all of them are whole numbers."""
    values = list(values)
    are_numbers = all(value.removeprefix("-").isdecimal() for value in values)
    return tuple(sorted(values, key=lambda value: (int(value) if are_numbers else 0, value)))
