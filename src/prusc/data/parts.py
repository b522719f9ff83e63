"""Splits that a user gives in Python: missing ones are made, labels and attributes are numbered."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from prusc.data.arrays import choose_ids
from prusc.data.batches import choose_inputs
from prusc.data.holding_out import hold_out
from prusc.data.values import number_values, sort_values
from prusc.errors import DataError, nearest_names

# Share of the training samples that become validation and test, and of the validation samples that become test.
_FROM_TRAIN, _FROM_VAL = 0.2, 1 / 3


@dataclass(frozen=True, eq=False)
class Part:
    """One split as it was given.

    Attributes:
        inputs: See `prusc.data.table.Split`.
        labels: Class of each sample, as numbers or names.
        attributes: Values of each attribute, one per sample, as numbers or names.
        sample_ids: A name for each sample.
    """

    inputs: Tensor | Dataset[Any]
    labels: NDArray[Any]
    sample_ids: Sequence[str]
    attributes: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: NDArray[np.int64]) -> "Part":
        """Return some of the samples."""
        chosen = torch.from_numpy(indices)
        return replace(
            self,
            inputs=choose_inputs(self.inputs, chosen),
            labels=self.labels[indices],
            sample_ids=choose_ids(self.sample_ids, chosen),
            attributes={name: values[indices] for name, values in self.attributes.items()},
        )


def read_values(values: Any, what: str) -> NDArray[Any]:
    """Return labels or values of an attribute as whole numbers or as text.

    Args:
        values: A tensor, an array, a column of a table or a list.
        what: Their name in errors.

    Raises:
        DataError: If there is not one whole number or text per sample.
    """
    column = values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
    if column.ndim != 1:
        raise DataError(
            f"{what} have the shape {list(column.shape)}; expected one value per sample, such as a class number: of "
            "scores or one-hot rows take argmax(axis=1)"
        )
    if column.dtype.kind in "biu":
        return column.astype(np.int64)
    if column.dtype.kind == "f":
        if not bool(np.isfinite(column).all() and (column == np.round(column)).all()):
            bad = int(np.flatnonzero(~np.isfinite(column) | (column != np.round(column)))[0])
            raise DataError(f"{what}: value {column[bad]} at index {bad} is no class; expected whole numbers or names")
        return column.astype(np.int64)
    items = column.tolist()
    if all(isinstance(item, str) for item in items):
        return np.array(items, dtype=object)
    if all(isinstance(item, int | np.integer) for item in items):
        return np.array(items, dtype=np.int64)
    bad = next(i for i, item in enumerate(items) if not isinstance(item, str))
    raise DataError(
        f"{what}: value {items[bad]!r} at index {bad} is of type {type(items[bad]).__name__}; expected whole numbers, "
        "or names throughout"
    )


def fill_parts(parts: Mapping[str, Part | None], *, seed: int) -> tuple[dict[str, Part], tuple[str, ...]]:
    """Make missing splits: validation from the training samples, test from those of validation.

    If both are missing, both are made from the training samples. Each class gives the same share.

    Args:
        parts: ``train``, and ``val`` and ``test`` or ``None``.
        seed: Seed of the choice.

    Returns:
        All three, and the names of those that were made.
    """
    found = {name: part for name, part in parts.items() if part is not None}
    made = tuple(name for name in ("val", "test") if name not in found)
    rng = np.random.default_rng(seed)
    if "val" not in found:
        # Shares count from all training samples, so the second one is larger.
        share = _FROM_TRAIN
        for name in reversed(made):
            found["train"], found[name] = _halve(found["train"], share, rng)
            share = _FROM_TRAIN / (1 - share)
    elif "test" not in found:
        found["val"], found["test"] = _halve(found["val"], _FROM_VAL, rng)
    return {name: found[name] for name in ("train", "val", "test")}, made


def _halve(part: Part, share: float, rng: np.random.Generator) -> tuple[Part, Part]:
    distinct, numbers = np.unique(part.labels, return_inverse=True)
    # Classes come in the order of their names, whether they are numbers or texts.
    order = distinct.astype(str).argsort().argsort()
    held_out = hold_out(order[numbers], np.arange(len(part)), share, rng)
    return part.take(np.flatnonzero(~held_out)), part.take(np.flatnonzero(held_out))


def number_labels(
    parts: Mapping[str, Part], class_names: Sequence[str] | None
) -> tuple[dict[str, Int[Tensor, " samples"]], tuple[str, ...]]:
    """Number the classes of all splits.

    Args:
        parts: The splits.
        class_names: One per class, in the order of the network's outputs. ``None``: numbers are their own names, and
            names are sorted.

    Returns:
        Labels by split, and the names of the classes.

    Raises:
        DataError: If numbers and names are mixed, or a class is unknown or unnamed.
    """
    are_names = {name: part.labels.dtype == object for name, part in parts.items()}
    if len(set(are_names.values())) > 1:
        raise DataError(f"the labels are names in some splits and numbers in others ({are_names}); expected one kind")
    if not are_names["train"]:
        numbers = {name: torch.from_numpy(part.labels) for name, part in parts.items()}
        return numbers, _name_numbers(parts) if class_names is None else tuple(class_names)
    known = tuple(class_names) if class_names is not None else sort_values(set(parts["train"].labels))
    for name, part in parts.items():
        unknown = next((label for label in part.labels if label not in known), None)
        if unknown is not None:
            raise DataError(
                f"{name}: class {unknown!r} is unknown{nearest_names(unknown, known)}; the classes are "
                f"{', '.join(known)}: correct the label, or give class_names with all of them"
            )
    return {name: torch.from_numpy(number_values(part.labels, known)[0]) for name, part in parts.items()}, known


def _name_numbers(parts: Mapping[str, Part]) -> tuple[str, ...]:
    """Name the classes by their numbers; gaps would make outputs that no sample has."""
    present = np.unique(np.concatenate([part.labels for part in parts.values()]))
    if present[0] < 0 or len(present) != present[-1] + 1:
        shown = ", ".join(map(str, present[:10])) + (", ..." if len(present) > 10 else "")
        raise DataError(
            f"the labels are {shown}; expected 0 to the number of classes - 1: number them anew, or give class_names, "
            "one per output of the network, if some classes have no sample"
        )
    return tuple(map(str, present))


def number_attributes(
    parts: Mapping[str, Part],
) -> tuple[dict[str, Int[Tensor, "samples attributes"] | None], tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Number the values of the attributes of all splits.

    Returns:
        Numbers by split, ``None`` if there is no attribute; the names of the attributes, and of their values.

    Raises:
        DataError: If the splits have different attributes.
    """
    names = tuple(parts["train"].attributes)
    for name, part in parts.items():
        if set(part.attributes) != set(names):
            raise DataError(
                f"{name} has the attributes {', '.join(part.attributes) or 'none'}, train has "
                f"{', '.join(names) or 'none'}; expected the same in every split"
            )
    if not names:
        return dict.fromkeys(parts), (), ()
    values = []
    columns: dict[str, list[Tensor]] = {name: [] for name in parts}
    for attribute in names:
        given = [part.attributes[attribute] for part in parts.values()]
        if all(own.dtype != object for own in given):
            distinct = np.unique(np.concatenate(given))
            values.append(tuple(map(str, distinct)))
            for name, numbers in zip(parts, given, strict=True):
                columns[name].append(torch.from_numpy(np.searchsorted(distinct, numbers)))
            continue
        texts = {name: list(map(str, part.attributes[attribute])) for name, part in parts.items()}
        _, known = number_values([text for own in texts.values() for text in own])
        values.append(known)
        for name, own in texts.items():
            columns[name].append(torch.from_numpy(number_values(own, known)[0]))
    return {name: torch.stack(own, dim=1) for name, own in columns.items()}, names, tuple(values)
