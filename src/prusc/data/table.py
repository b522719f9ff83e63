"""Samples, labels, splits and attributes: the data structures that every reader returns and every stage takes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import Any, TypeAlias

import pandas as pd
import torch
from jaxtyping import Bool, Int
from torch import Tensor
from torch.utils.data import Dataset

from prusc.data.arrays import as_attributes, as_inputs, as_labels, as_sample_ids, choose_ids
from prusc.data.batches import choose_inputs
from prusc.data.counts import count_groups
from prusc.data.given_arrays import Channels, read_arrays
from prusc.data.images import DEFAULT_IMAGE_SIZE, DEFAULT_MEMORY_LIMIT_BYTES, Progress
from prusc.data.map_style import Reader, read_dataset
from prusc.data.normalisation import default_normalisation
from prusc.data.parts import Part, fill_parts, number_attributes, number_labels
from prusc.data.transforms import InputTransform
from prusc.errors import ConfigError, DataError

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
    sample_ids: Sequence[str]
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
        return Split(
            choose_inputs(self.inputs, indices),
            self.labels[indices],
            None if self.attributes is None else self.attributes[indices],
            choose_ids(self.sample_ids, indices),
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

    @classmethod
    def from_arrays(
        cls,
        train: Any,
        val: Any = None,
        test: Any = None,
        *,
        name: str = "arrays",
        class_names: Sequence[str] | None = None,
        channels: Channels | None = None,
        image_size: int = DEFAULT_IMAGE_SIZE,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
        seed: int = 0,
    ) -> "Data":
        """Make data from arrays: NumPy, PyTorch, lists, or paths of image files.

        Images of type uint8 are normalised by prusc; every other input goes to the network as it is.

        Args:
            train: ``(inputs, labels)`` or ``(inputs, labels, attributes)``. Labels are numbers from 0 or names,
                attributes such as ``{"colour": values}``, for evaluation only.
            val: The same of samples that the network has not seen. ``None`` takes a fifth of each class of ``train``.
            test: The same for the final evaluation. ``None`` takes a third of ``val``, or a fifth of ``train``.
            name: Name of the data in reports.
            class_names: One per output of the network, in their order. ``None``: numbers are their own names, and names
                are put into alphabetical order.
            channels: Whether the channels of images stand ``first`` ([N, C, H, W]) or ``last`` ([N, H, W, C]). ``None``
                recognises an axis of 1, 3 or 4.
            image_size: Height and width in pixels of images that are given by paths.
            mean: Per-channel mean of uint8 images, of intensities in [0, 1]. ``None`` is ImageNet's, or 0.5 without
                colours.
            std: The standard deviation; see ``mean``.
            memory_limit_bytes: Size up to which images from paths are held in memory.
            seed: Seed of the splits that are made.

        Raises:
            DataError: If lengths, shapes, labels or attributes do not fit.

        Example:
            >>> import numpy as np, prusc
            >>> images = np.zeros((20, 32, 32, 3), dtype=np.uint8)
            >>> prusc.Data.from_arrays((images, [0, 1] * 10))
            Data('arrays': 12 train, 4 val, 4 test samples of 2 classes)
        """
        given = {"train": train, "val": val, "test": test}
        parts = {
            split: None
            if arrays is None
            else read_arrays(
                arrays, split, channels=channels, image_size=image_size, memory_limit_bytes=memory_limit_bytes
            )
            for split, arrays in given.items()
        }
        origin = {"layout": "arrays"}
        return cls.from_parts(parts, name, class_names, mean=mean, std=std, seed=seed, origin=origin)

    @classmethod
    def from_datasets(
        cls,
        train: Any,
        val: Any = None,
        test: Any = None,
        *,
        name: str = "datasets",
        target: str | None = None,
        attributes: Sequence[str] = (),
        class_names: Sequence[str] | None = None,
        image_size: int = DEFAULT_IMAGE_SIZE,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
        seed: int = 0,
        progress: Progress | None = None,
    ) -> "Data":
        """Make data from map-style data sets: torchvision's, your own, that of a loader, or a `datasets.Dataset`.

        An item is ``(input, class)``, or a mapping such as ``{"image": input, "label": class}``. Several tensors of a
        mapping become keyword arguments of the network. The transform of the data set is used: its tensors go to the
        network as they are. Only pictures (PIL) and uint8 images are resized or normalised by prusc.

        Args:
            train: Training samples.
            val: Samples that the network has not seen, without augmentation. ``None`` takes a fifth of each class of
                ``train``.
            test: Samples for the final evaluation. ``None`` takes a third of ``val``, or a fifth of ``train``.
            name: Name of the data in reports.
            target: Key of the class in items that are mappings; ``None`` looks for a usual one, such as ``label``.
            attributes: Keys of attributes in items that are mappings, for evaluation only.
            class_names: See `from_arrays`; ``None`` asks the data sets too.
            image_size: Height and width in pixels of pictures, from data sets without a transform.
            mean: See `from_arrays`.
            std: See `from_arrays`.
            memory_limit_bytes: Size up to which the inputs of a split are held in memory. Larger ones are read whenever
                they are needed.
            seed: Seed of the splits that are made.
            progress: Called with the number of samples read so far and the number of all samples of the split.

        Raises:
            DataError: If items cannot be read or understood, or the splits do not fit together.

        Example:
            >>> import torch, prusc
            >>> from torch.utils.data import TensorDataset
            >>> samples = TensorDataset(torch.randn(20, 3, 8, 8), torch.arange(20) % 2)
            >>> prusc.Data.from_datasets(samples, samples)
            Data('datasets': 20 train, 14 val, 6 test samples of 2 classes)
        """
        if isinstance(attributes, str):
            raise ConfigError(f"attributes is the text {attributes!r}; expected a sequence of names: ({attributes!r},)")
        parts: dict[str, Part | None] = {}
        names: dict[str, tuple[str, ...]] = {}
        for split, dataset in {"train": train, "val": val, "test": test}.items():
            parts[split] = None
            if dataset is not None:
                reader = Reader(split, target, tuple(attributes))
                parts[split], found = read_dataset(
                    dataset,
                    reader,
                    image_size=image_size,
                    memory_limit_bytes=memory_limit_bytes,
                    progress=progress,
                )
                names |= {} if found is None else {split: found}
        if class_names is None and len(set(names.values())) > 1:
            raise DataError(
                f"the data sets name different classes: {names}; expected the same in the same order: give class_names "
                "if they mean the same"
            )
        class_names = class_names if class_names is not None else next(iter(names.values()), None)
        origin = {"layout": "datasets"}
        return cls.from_parts(parts, name, class_names, mean=mean, std=std, seed=seed, origin=origin)

    @classmethod
    def from_parts(
        cls,
        given: Mapping[str, Part | None],
        name: str,
        class_names: Sequence[str] | None,
        *,
        mean: tuple[float, ...] | None = None,
        std: tuple[float, ...] | None = None,
        seed: int = 0,
        origin: Mapping[str, Any],
    ) -> "Data":
        """Make data from splits that were read but not checked; see `from_arrays` for the other arguments.

        Args:
            given: ``train``, and ``val`` and ``test`` or ``None``.
            name: Name of the data.
            class_names: Names of the classes, if known.
            mean: Normalisation of uint8 images.
            std: Normalisation of uint8 images.
            seed: Seed of the splits that are made.
            origin: Where the data come from.
        """
        parts, made = fill_parts(given, seed=seed)
        labels, names = number_labels(parts, class_names)
        attributes, attribute_names, attribute_values = number_attributes(parts)
        splits = {key: Split(part.inputs, labels[key], attributes[key], part.sample_ids) for key, part in parts.items()}
        first = parts["train"].inputs[0]
        is_image = isinstance(first, Tensor) and first.dtype == torch.uint8
        if (mean, std) != (None, None) and not is_image:
            raise ConfigError("mean and std were given, but only uint8 images are normalised; leave them out")
        usual = default_normalisation(len(first) if is_image else 3)
        return cls(
            name=name,
            class_names=names,
            train=splits["train"],
            val=splits["val"],
            test=splits["test"],
            attribute_names=attribute_names,
            attribute_values=attribute_values,
            mean=usual[0] if mean is None else mean,
            std=usual[1] if std is None else std,
            origin={**origin, **({"made_splits": list(made), "data_seed": seed} if made else {})},
        )

    def __repr__(self) -> str:
        sizes = ", ".join(f"{len(split)} {name}" for name, split in self.splits.items())
        attributes = f", attributes {', '.join(self.attribute_names)}" if self.attribute_names else ""
        return f"Data({self.name!r}: {sizes} samples of {self.num_classes} classes{attributes})"

    def _repr_html_(self) -> str:
        return f"<p>{escape(repr(self))}</p>{self.to_frame().to_html(index=False)}"

    def to_frame(self) -> pd.DataFrame:
        """Return one row per group with its number of samples in each split; see `prusc.data.counts.count_groups`."""
        return count_groups(
            {name: (split.labels, split.attributes) for name, split in self.splits.items()},
            self.class_names,
            dict(zip(self.attribute_names, self.attribute_values, strict=True)),
        )

    @property
    def splits(self) -> dict[str, Split]:
        """The three splits by name, in the order train, val, test."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)
