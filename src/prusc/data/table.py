"""Samples, labels, splits and attributes: the data structures that every reader returns and every stage takes."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Dataset, Subset

from prusc.data.transforms import InputTransform
from prusc.errors import DataError

SPLIT_NAMES = ("train", "val", "test")

Regions: TypeAlias = Callable[[int], Mapping[str, Bool[Tensor, "height width"]]]
"""Function that returns the known regions of a sample's image, by name, given the sample's index.

Each region has the image's size and is True inside. A sample may lack some regions or all of them. The function raises
`prusc.errors.DataError` if regions cannot be read.
"""


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """One split of a data set, in a fixed order.

    Attributes:
        inputs: All inputs in memory, as a uint8 tensor [N, C, H, W]; floating point for inputs that are not images. Or
            a map-style data set that yields one such input per index.
        labels: Class of each sample, in ``[0, num_classes)``.
        attributes: Value of each spurious attribute, for evaluation only; ``None`` if unknown.
        sample_ids: A name for each sample, such as its file name; unique within the split.
        regions: Known regions of each image, such as its sticker. They only measure how much of a network's attention
            falls inside. ``None`` if unknown.
        transform: Normalisation of its images; a `Data` gives its own to its splits.
    """

    inputs: Tensor | Dataset[Any]
    labels: Int[Tensor, " samples"]
    attributes: Int[Tensor, "samples attributes"] | None
    sample_ids: tuple[str, ...]
    regions: Regions | None = None
    transform: InputTransform | None = None

    def __post_init__(self) -> None:
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

    def subset(self, indices: Int[Tensor, " chosen"] | Sequence[int]) -> "Split":
        """Return some of the samples.

        Args:
            indices: Indices of the samples, in the order wanted.

        Returns:
            A split of these samples.
        """
        indices = torch.as_tensor(indices)
        inputs = self.inputs[indices] if isinstance(self.inputs, Tensor) else Subset(self.inputs, indices.tolist())
        return Split(
            inputs,
            self.labels[indices],
            None if self.attributes is None else self.attributes[indices],
            tuple(self.sample_ids[index] for index in indices.tolist()),
            None if self.regions is None else _ChosenRegions(self.regions, tuple(indices.tolist())),
            self.transform,
        )


@dataclass(frozen=True)
class _ChosenRegions:
    """Regions of some samples of a split."""

    regions: Regions
    indices: tuple[int, ...]

    def __call__(self, index: int) -> Mapping[str, Tensor]:
        return self.regions(self.indices[index])


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
        present = torch.bincount(self.train.labels, minlength=num_classes)
        if int((present > 0).sum()) < 2:
            raise DataError(
                f"data set {self.name!r}: the training split holds one class only "
                f"({self.class_names[int(present.argmax())]!r}); a classifier needs at least two: choose "
                "other classes or add samples"
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
