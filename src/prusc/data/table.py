"""Samples, labels, splits and attributes: the data structures that every reader returns and every stage takes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Dataset, Subset

from prusc.data.arrays import as_attributes, as_inputs, as_labels, as_sample_ids
from prusc.data.transforms import InputTransform
from prusc.errors import DataError

SPLIT_NAMES = ("train", "val", "test")

Regions: TypeAlias = Callable[[int], Mapping[str, Bool[Tensor, "height width"]]]
"""Function that returns the known regions of a sample's image, by name, given the sample's index.

Each region has the image's size and is True inside. A sample may lack some regions or all of them. The function raises
`prusc.errors.DataError` if regions cannot be read.
"""

Facts: TypeAlias = Callable[[Sequence[int]], Mapping[str, Sequence[str]]]
"""Function that returns what else is known of some samples, as text by column, given their indices.

They are columns of a table that serve nothing else, and properties of image files. An empty text is a missing one.
"""


@dataclass(frozen=True, eq=False, repr=False, init=False)
class Split:
    """One split of a data set, in a fixed order.

    Arrays and lists are turned into tensors, whole numbers of any type into int64.

    Attributes:
        inputs: All inputs in memory, as a uint8 tensor [N, C, H, W]; floating point for inputs that are not images. Or
            a map-style data set that yields one such input per index.
        labels: Class of each sample, in ``[0, num_classes)``.
        attributes: Value of each spurious attribute, for evaluation only; ``None`` if unknown.
        sample_ids: A name for each sample, such as its file name; unique within the split. ``None`` numbers the
            samples.
        regions: Known regions of each image, such as its sticker. They only measure how much of a network's attention
            falls inside. ``None`` if unknown.
        transform: Normalisation of its images; a `Data` gives its own to its splits.
        facts: What else is known of each sample. It only helps to name what suspects have in common.
    """

    inputs: Tensor | Dataset[Any]
    labels: Int[Tensor, " samples"]
    attributes: Int[Tensor, "samples attributes"] | None
    sample_ids: tuple[str, ...]
    regions: Regions | None
    transform: InputTransform | None
    facts: Facts | None

    def __init__(
        self,
        inputs: Any,
        labels: Any,
        attributes: Any = None,
        sample_ids: Iterable[Any] | None = None,
        regions: Regions | None = None,
        transform: InputTransform | None = None,
        facts: Facts | None = None,
    ) -> None:
        found = as_labels(labels)
        values = {
            "inputs": as_inputs(inputs),
            "labels": found,
            "attributes": as_attributes(attributes),
            "sample_ids": as_sample_ids(sample_ids, len(found)),
            "regions": regions,
            "transform": transform,
            "facts": facts,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        num_inputs = len(self.inputs)  # type: ignore[arg-type]
        lengths = {"inputs": num_inputs, "labels": len(self.labels), "sample_ids": len(self.sample_ids)}
        if self.attributes is not None:
            lengths["attributes"] = len(self.attributes)
        if len(set(lengths.values())) > 1:
            raise DataError(f"a split needs one entry per sample everywhere; found {lengths}")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        shape = (
            f"of {self.inputs.dtype} {list(self.inputs.shape[1:])}" if isinstance(self.inputs, Tensor) else "on disk"
        )
        return f"Split({len(self)} samples {shape})"

    def subset(self, indices: Int[Tensor, " chosen"] | Bool[Tensor, " samples"] | Sequence[int]) -> "Split":
        """Return some of the samples.

        Args:
            indices: Indices of the samples, in the order wanted; or a flag for each sample.

        Returns:
            A split of these samples.

        Raises:
            DataError: If an index is out of range.
        """
        indices = torch.as_tensor(indices)
        if indices.dtype == torch.bool and indices.shape == (len(self),):
            indices = indices.nonzero()[:, 0]
        wrong = indices[(indices < -len(self)) | (indices >= len(self))]
        if len(wrong):
            raise DataError(
                f"index {int(wrong[0])} is out of range; with {len(self)} samples it must be in 0..{len(self) - 1}"
            )
        inputs = self.inputs[indices] if isinstance(self.inputs, Tensor) else Subset(self.inputs, indices.tolist())
        return Split(
            inputs,
            self.labels[indices],
            None if self.attributes is None else self.attributes[indices],
            tuple(self.sample_ids[index] for index in indices.tolist()),
            None if self.regions is None else _ChosenRegions(self.regions, tuple(indices.tolist())),
            self.transform,
            None if self.facts is None else _ChosenFacts(self.facts, tuple(indices.tolist())),
        )


@dataclass(frozen=True)
class _ChosenRegions:
    """Regions of some samples of a split."""

    regions: Regions
    indices: tuple[int, ...]

    def __call__(self, index: int) -> Mapping[str, Tensor]:
        return self.regions(self.indices[index])


@dataclass(frozen=True)
class _ChosenFacts:
    """Facts of some samples of a split."""

    facts: Facts
    indices: tuple[int, ...]

    def __call__(self, indices: Sequence[int]) -> Mapping[str, Sequence[str]]:
        return self.facts([self.indices[index] for index in indices])


@dataclass(frozen=True)
class SkippedSample:
    """A sample that was left out because its image cannot be read.

    Attributes:
        split: Split that it belongs to.
        sample_id: Name of the sample.
        problem: Error of its image.
    """

    split: str
    sample_id: str
    problem: str


def _as_names(names: Sequence[Any], what: str) -> tuple[str, ...]:
    """Return names as texts, which must differ."""
    if isinstance(names, str):
        raise DataError(f"{what} are the text {names!r}; expected a sequence of names")
    found = tuple(map(str, names))
    twice = sorted({name for name in found if found.count(name) > 1})
    if twice:
        raise DataError(f"{what} name {twice[0]!r} more than once; expected different names")
    return found


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """A data set with its three splits.

    Attributes:
        name: Name of the data set in reports.
        class_names: One name per class; a label is an index into it.
        attribute_names: One name per spurious attribute that evaluation knows; empty if there is none.
        attribute_values: For each attribute, the names of its values; an attribute's value is an index into them.
        mean: Per-channel mean for normalisation, of intensities in ``[0, 1]``.
        std: Per-channel standard deviation for normalisation.
        origin: Settings that made the data, written into the run folder.
        skipped: Samples that were left out on request, because their images cannot be read.
    """

    name: str
    class_names: tuple[str, ...]
    train: Split
    val: Split
    test: Split
    attribute_names: tuple[str, ...] = ()
    attribute_values: tuple[tuple[str, ...], ...] = ()
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    origin: dict[str, Any] = field(default_factory=dict)
    skipped: tuple[SkippedSample, ...] = ()

    def __post_init__(self) -> None:
        for names in ("class_names", "attribute_names"):
            object.__setattr__(self, names, _as_names(getattr(self, names), f"data set {self.name!r}: {names}"))
        values = tuple(_as_names(names, f"data set {self.name!r}: attribute_values") for names in self.attribute_values)
        object.__setattr__(self, "attribute_values", values)
        transform = InputTransform(self.mean, self.std)
        for name, split in self.splits.items():
            object.__setattr__(self, name, replace(split, transform=transform))
        num_classes = len(self.class_names)
        if num_classes < 2:
            raise DataError(f"data set {self.name!r} has {num_classes} class; a classifier needs at least two")
        for name, split in self.splits.items():
            if len(split) == 0:
                raise DataError(f"data set {self.name!r}: split {name!r} has no samples; train, val and test need some")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= num_classes:
                bad = low if low < 0 else high
                row = int((split.labels == bad).nonzero()[0, 0])
                raise DataError(
                    f"data set {self.name!r}, split {name!r}, sample {split.sample_ids[row]!r}: label {bad} is out of "
                    f"range; with {num_classes} classes it must be in 0..{num_classes - 1}"
                )
            self._check_attributes(name, split)
        self._check_shapes()
        present = torch.bincount(self.train.labels, minlength=num_classes)
        if int((present > 0).sum()) < 2:
            raise DataError(
                f"data set {self.name!r}: the training split holds one class only "
                f"({self.class_names[int(present.argmax())]!r}); a classifier needs at least two: choose "
                "other classes or add samples"
            )

    def _check_attributes(self, name: str, split: Split) -> None:
        """Check the number of attributes of a split, and that each value has a name."""
        if len(self.attribute_values) != len(self.attribute_names):
            raise DataError(
                f"data set {self.name!r} has {len(self.attribute_names)} attribute_names and values of "
                f"{len(self.attribute_values)} attributes; expected as many"
            )
        if split.attributes is None:
            return
        if split.attributes.shape[1] != len(self.attribute_names):
            raise DataError(
                f"data set {self.name!r}, split {name!r} has {split.attributes.shape[1]} attributes, yet "
                f"{len(self.attribute_names)} attribute_names; expected as many"
            )
        for column, attribute, values in zip(
            split.attributes.T, self.attribute_names, self.attribute_values, strict=True
        ):
            wrong = ((column < 0) | (column >= len(values))).nonzero()
            if len(wrong):
                row = int(wrong[0, 0])
                raise DataError(
                    f"data set {self.name!r}, split {name!r}, sample {split.sample_ids[row]!r}: attribute "
                    f"{attribute!r} is {int(column[row])}; with the values {', '.join(values)} it must be in "
                    f"0..{len(values) - 1}"
                )

    def _check_shapes(self) -> None:
        """Check that inputs in memory have one shape and type in all splits, and the channels of the normalisation."""
        found = {
            name: (list(split.inputs.shape[1:]), split.inputs.dtype)
            for name, split in self.splits.items()
            if isinstance(split.inputs, Tensor)
        }
        for name, (shape, dtype) in found.items():
            first, (expected, expected_dtype) = next(iter(found.items()))
            is_image = dtype == torch.uint8 and len(shape) == 3
            if dtype != expected_dtype or (is_image and shape != expected):
                raise DataError(
                    f"data set {self.name!r}: inputs are {dtype} {shape} in {name} and {expected_dtype} {expected} in "
                    f"{first}; expected the same in all splits"
                )
            if is_image and shape[0] != len(self.mean):
                raise DataError(
                    f"data set {self.name!r}: images have {shape[0]} channels, mean and std have {len(self.mean)}; "
                    "expected one of each per channel: give mean and std, or convert the images to RGB"
                )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(split)} {name}" for name, split in self.splits.items())
        attributes = f", attributes {', '.join(self.attribute_names)}" if self.attribute_names else ""
        return f"Data({self.name!r}: {sizes} samples of {self.num_classes} classes{attributes})"

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
