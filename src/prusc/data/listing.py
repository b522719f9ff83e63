"""Listings: the samples that a layout names, before any image is decoded, and the problems found in it."""

import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prusc.data.images import ImageSource
from prusc.errors import DataError

NO_SPLIT = -1
"""Split of a sample for which the layout states none."""

_MAX_TOLD = 3


@dataclass(frozen=True)
class Problem:
    """One problem of a data set.

    Attributes:
        kind: ``label``, ``split``, ``path``, ``missing``, ``unreadable``, ``mask``, ``repeated``, ``shared`` (in two
            splits), ``ignored`` (a file that is not an image), ``unused`` (images that no split uses) or ``class``
            (without training images).
        message: What was found, where, what was expected and what to do.
    """

    kind: str
    message: str


class Problems:
    """Receives the problems that a reader finds, and stops at the first one or collects them all.

    Args:
        collect: Whether to collect them, so that the reader continues without the sample.
    """

    def __init__(self, *, collect: bool = False) -> None:
        self._collect = collect
        self.found: list[Problem] = []
        self.noted: list[Problem] = []
        self.remarks: list[str] = []

    def add(self, kind: str, message: str) -> None:
        """Receive one problem.

        Args:
            kind: See `Problem`.
            message: See `Problem`.

        Raises:
            DataError: With this message, unless problems are collected.
        """
        if not self._collect:
            raise DataError(message)
        self.found.append(Problem(kind, message))

    def note(self, kind: str, message: str) -> None:
        """Receive a problem that stops no reader. A check reports it, and a run logs it."""
        self.noted.append(Problem(kind, message))
        if self._collect:
            self.found.append(self.noted[-1])

    def remark(self, text: str) -> None:
        """Receive what the user should know of how the data were read, although nothing is wrong."""
        self.remarks.append(text)

    def refuse(self, source: str) -> None:
        """Raise the problems that were collected, if there are any.

        Raises:
            DataError: With the messages of the first ones.
        """
        if self.found:
            first = "; ".join(problem.message for problem in self.found[:_MAX_TOLD])
            more = (
                f"; and {len(self.found) - _MAX_TOLD} more, which prusc check lists" if self.found[_MAX_TOLD:] else ""
            )
            raise DataError(f"{first}{more} (from {source})")

    def report_notes(self, log: Callable[[str], None] | None) -> None:
        """Log the remarks, and one line for each kind of note. Without a log, images that are not used are warned of.

        Args:
            log: Called with each line.
        """
        kinds = Counter(note.kind for note in self.noted)
        for kind, number in kinds.items():
            first = next(note.message for note in self.noted if note.kind == kind)
            more = f" (and {number - 1} more; prusc check lists them)" if number > 1 else ""
            if log is not None:
                log(f"data: {kind}: {first}{more}")
            elif kind != "ignored":
                warnings.warn(f"{first}{more}", stacklevel=3)
        if log is not None:
            for text in self.remarks:
                log(f"data: {text}")


@dataclass(frozen=True, eq=False)
class Listing:
    """The samples of a data set, one entry each, in the order of the table or folder that names them.

    Attributes:
        name: Name of the data set in reports.
        layout: Name of the layout.
        root: Folder of the data.
        source: Files that the listing was read from, for errors.
        sample_ids: A unique name for each sample.
        images: Source of each image.
        places: Place that names each sample, such as a table and its row, for errors.
        labels: Class of each sample, [samples].
        class_names: One name per class.
        splits: Split of each sample, [samples], as an index into ``SPLIT_NAMES``, or ``NO_SPLIT``.
        attributes: Value of each attribute, [samples, attributes].
        attribute_names: One name per attribute.
        attribute_values: Names of the values of each attribute.
        masks: Mask of the object of each image, white inside; ``None`` for an image without one. ``None`` altogether if
            no image has one.
        bundles: Bundle of each sample, [samples]; samples with the same number stay in one split. ``None`` if every
            sample stands alone.
        origin: Settings that made the listing, for the run folder.
        columns: Columns of the table that serve nothing else, as text by name.
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
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sample_ids:
            raise DataError(f"{self.source} names no usable images; expected one for each sample")

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "Listing":
        """Return some of the samples.

        Args:
            indices: Indices of the samples, in the order wanted.

        Returns:
            A listing of these samples.
        """
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
            columns={name: [texts[index] for index in order] for name, texts in self.columns.items()},
        )


def name_splits(names: Sequence[str]) -> str:
    """Return ``split val`` or ``splits val, test``."""
    return f"split{'s' if len(names) > 1 else ''} {', '.join(names)}"


def offer_columns(names: Sequence[str]) -> str:
    """Return a line about columns that nothing uses."""
    return (
        f"columns that could be attributes, for evaluation only: {', '.join(names)} (--data-options.attributes "
        f"{' '.join(names)})"
    )
