"""Splits from map-style data sets: torchvision's, a user's own, those of a loader, and Hugging Face's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset

from prusc.data.images import MadeImage, Progress, load_image_inputs, square_pixels
from prusc.data.parts import Part, read_values
from prusc.errors import DataError, PruscError

# Usual names of the class and of a single input in items that are mappings.
_TARGETS = ("label", "labels", "y", "target", "class")
_SINGLE_INPUTS = ("image", "img", "x", "input", "inputs", "features")


@dataclass(frozen=True)
class Reader:
    """How inputs, class and attributes are found in the items of a data set.

    Attributes:
        split: Name of the split, for errors.
        target: Key of the class in items that are mappings; ``None`` looks for a usual one.
        attributes: Keys of the attributes, in items that are mappings.
    """

    split: str
    target: str | None = None
    attributes: tuple[str, ...] = ()

    def read(self, dataset: Any, index: int) -> tuple[Any, Any, dict[str, Any]]:
        """Return inputs, class and attributes of an item."""
        try:
            item = dataset[index]
        except PruscError:
            raise
        except Exception as error:  # Reading runs the user's code.
            raise DataError(
                f"{self.split}: sample {index} of your data set cannot be read ({type(error).__name__}: {error}); "
                "correct or leave out that sample"
            ) from error
        if isinstance(item, Mapping):
            return self._read_mapping(item)
        if isinstance(item, tuple | list) and len(item) >= 2 and not self.attributes:
            return item[0], item[1], {}
        wanted = "a mapping with the attributes" if self.attributes else "(input, class) or a mapping"
        raise DataError(f"{self.split}: an item of your data set is {_describe(item)}; expected {wanted}")

    def _read_mapping(self, item: Mapping[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        target = self.target or next((name for name in _TARGETS if name in item), None)
        missing = [name for name in (target, *self.attributes) if name is None or name not in item]
        if target is None or missing:
            what = "no usual class" if target is None else f"no {missing[0]!r}"
            raise DataError(
                f"{self.split}: an item of your data set has {what}; it has {', '.join(map(str, item))}. Name the key "
                "of the class with target, those of attributes with attributes"
            )
        rest = {
            name: value
            for name, value in item.items()
            if name not in (target, *self.attributes) and isinstance(value, Tensor | np.ndarray | Image.Image)
        }
        single = [name for name in rest if len(rest) == 1 or isinstance(rest[name], Image.Image)]
        is_single = len(single) == 1 and (single[0] in _SINGLE_INPUTS or isinstance(rest[single[0]], Image.Image))
        if not rest:
            raise DataError(
                f"{self.split}: an item of your data set has no tensor, array or image besides the class; it has "
                f"{', '.join(map(str, item))}: give a data set with the transform (or tokenizer) of your network"
            )
        inputs = rest[single[0]] if is_single else {name: torch.as_tensor(value) for name, value in rest.items()}
        return inputs, item[target], {name: item[name] for name in self.attributes}


@dataclass(frozen=True)
class DatasetInputs(Dataset[Any]):
    """The inputs alone, read from the data set whenever one is needed.

    Attributes:
        dataset: The data set.
        reader: How they are found.
    """

    dataset: Any
    reader: Reader

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return _as_tensors(self.reader.read(self.dataset, index)[0], self.reader.split)


@dataclass(frozen=True, eq=False, repr=False)
class DatasetImage(MadeImage):
    """A picture of a data set without a transform.

    Attributes:
        dataset: The data set.
        reader: How the picture is found in an item.
        index: Index of the item.
    """

    dataset: Any
    reader: Reader
    index: int

    def __repr__(self) -> str:
        # A run folder tells its data by it, so it must be the same in every process.
        return f"DatasetImage({type(self.dataset).__name__}, {self.reader.split}, {self.index})"

    def decode(self, size: int) -> NDArray[np.uint8]:
        """Return the image as an RGB square [size, size, 3]."""
        image = self.reader.read(self.dataset, self.index)[0]
        return square_pixels(image, f"{self.index} of {self.reader.split}", size)


def read_dataset(
    given: Any,
    reader: Reader,
    *,
    image_size: int,
    memory_limit_bytes: int,
    progress: Progress | None = None,
) -> tuple[Part, tuple[str, ...] | None]:
    """Read one split. Tensors are kept as the data set gives them; pictures become squares of ``image_size`` pixels.

    Args:
        given: A map-style data set, or a loader, whose data set is read.
        reader: How inputs, class and attributes are found.
        image_size: Height and width of pictures.
        memory_limit_bytes: Size up to which all inputs are held in memory. Larger ones are read whenever needed.
        progress: Called with the number of samples read so far and the number of all samples.

    Returns:
        The split, and the names of the classes if the data set knows them.

    Raises:
        DataError: If the items cannot be read or understood, or the transform of a held-out split is random.
    """
    dataset = given.dataset if isinstance(given, DataLoader) else given
    if isinstance(dataset, IterableDataset) or not (hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__")):
        raise DataError(
            f"{reader.split} is of type {type(dataset).__name__}, which has no length or no items by index; expected a "
            "map-style data set: list(dataset) makes one that fits in memory"
        )
    if len(dataset) == 0:
        raise DataError(f"{reader.split}: your data set has no samples; expected some of each class")
    first = reader.read(dataset, 0)[0]
    is_picture = isinstance(first, Image.Image)
    is_random = not is_picture and not _are_equal(first, reader.read(dataset, 0)[0])
    if is_random and reader.split != "train":
        raise DataError(
            f"{reader.split}: the transform of your data set is random, because two readings of its first sample "
            "differ; give a data set with the transform of evaluation, without augmentation"
        )
    inputs: Tensor | Dataset[Any] = DatasetInputs(dataset, reader)
    if is_picture:
        labels, attributes, _ = _read_all(dataset, reader, keep=False, progress=None)
        images = [DatasetImage(dataset, reader, index) for index in range(len(dataset))]
        # A user's data set need not work in several threads.
        inputs = load_image_inputs(
            images, image_size, memory_limit_bytes=memory_limit_bytes, num_threads=1, progress=progress
        )
    else:
        size = _count_bytes(_as_tensors(first, reader.split)) * len(dataset)
        keep = not is_random and not isinstance(first, Mapping) and size <= memory_limit_bytes
        labels, attributes, kept = _read_all(dataset, reader, keep=keep, progress=progress)
        inputs = inputs if kept is None else kept
    names = known_files(dataset) or [f"{reader.split}-{index}" for index in range(len(dataset))]
    columns = {
        name: read_values(values, f"the values of {name!r} of {reader.split}") for name, values in attributes.items()
    }
    part = Part(inputs, read_values(labels, f"the labels of {reader.split}"), tuple(names), columns)
    return part, known_classes(dataset, reader.target)


def _read_all(
    dataset: Any, reader: Reader, *, keep: bool, progress: Progress | None
) -> tuple[list[Any], dict[str, list[Any]], Tensor | None]:
    """Return classes, attributes and, if they are to be kept, inputs of all samples."""
    known = None if keep or reader.attributes else _known_labels(dataset, reader)
    if known is not None:
        return known, {}, None
    labels: list[Any] = []
    attributes: dict[str, list[Any]] = {name: [] for name in reader.attributes}
    kept: Tensor | None = None
    for index in range(len(dataset)):
        inputs, label, own = reader.read(dataset, index)
        labels.append(_as_value(label))
        for name, value in own.items():
            attributes[name].append(_as_value(value))
        if keep:
            tensor = _as_tensors(inputs, reader.split)
            if kept is None:
                kept = tensor.new_empty((len(dataset), *tensor.shape))
            if tensor.shape != kept.shape[1:]:
                raise DataError(
                    f"{reader.split}: sample {index} of your data set has the shape {list(tensor.shape)}, the first "
                    f"one {list(kept.shape[1:])}; expected one shape: resize or crop in the transform"
                )
            kept[index] = tensor
        if progress is not None and (index + 1) % 64 == 0:
            progress(index + 1, len(dataset))
    return labels, attributes, kept


def _known_labels(dataset: Any, reader: Reader) -> list[Any] | None:
    """Return the classes that a data set lists, if those of some items agree with the list."""
    if not hasattr(dataset, "targets") or getattr(dataset, "target_transform", None) is not None:
        return None
    targets = [_as_value(target) for target in dataset.targets]
    looked = {index * (len(targets) - 1) // 15 for index in range(16)}
    agrees = len(targets) == len(dataset) and all(
        _as_value(reader.read(dataset, index)[1]) == targets[index] for index in looked
    )
    return targets if agrees else None


def known_classes(dataset: Any, target: str | None = None) -> tuple[str, ...] | None:
    """Return the names of the classes that a data set knows, as torchvision's and Hugging Face's do."""
    if isinstance(dataset, Subset):
        return known_classes(dataset.dataset, target)
    if isinstance(dataset, ConcatDataset):
        return known_classes(dataset.datasets[0], target)
    features = getattr(dataset, "features", None)
    if isinstance(features, Mapping):
        name = target or next((name for name in _TARGETS if name in features), None)
        return tuple(features[name].names) if hasattr(features.get(name), "names") else None
    classes = getattr(dataset, "classes", None)
    return tuple(map(str, classes)) if isinstance(classes, tuple | list) and classes else None


def known_files(dataset: Any) -> list[str] | None:
    """Return the name of each sample's file, if the data set lists its files as torchvision's do."""
    if isinstance(dataset, Subset):
        names = known_files(dataset.dataset)
        return None if names is None else _if_unique([names[index] for index in dataset.indices])
    if isinstance(dataset, ConcatDataset):
        parts = [known_files(part) for part in dataset.datasets]
        return None if None in parts else _if_unique(list(chain.from_iterable(part or () for part in parts)))
    samples = getattr(dataset, "samples", None)
    if not isinstance(samples, list) or len(samples) != len(dataset) or not isinstance(samples[0], tuple):
        return None
    root = str(getattr(dataset, "root", "")).rstrip("/") + "/"
    return _if_unique([str(sample[0]).removeprefix(root) for sample in samples])


def _if_unique(names: Sequence[str]) -> list[str] | None:
    return list(names) if len(set(names)) == len(names) else None


def _as_value(value: Any) -> Any:
    """Return a class or the value of an attribute as a plain number or text, for `read_values` to check."""
    is_one = isinstance(value, Tensor | np.ndarray) and np.size(value) == 1
    return value.item() if is_one else value


def _as_tensors(inputs: Any, split: str) -> Any:
    if isinstance(inputs, Mapping):
        return dict(inputs)
    if not isinstance(inputs, Tensor | np.ndarray | np.generic | float):
        raise DataError(
            f"{split}: the input of an item of your data set is {_describe(inputs)}; expected a tensor, an array or a "
            "picture (PIL)"
        )
    tensor = torch.as_tensor(inputs)
    if tensor.dtype == torch.uint8 and tensor.ndim == 3 and tensor.shape[0] not in (1, 3, 4):
        raise DataError(
            f"{split}: an image of your data set is uint8 of shape {list(tensor.shape)}; expected [channels, height, "
            "width]: add a transform, such as torchvision's ToTensor"
        )
    return tensor.float() if tensor.is_floating_point() else tensor


def _are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_are_equal(one[name], other[name]) for name in one)
    one, other = np.asarray(one), np.asarray(other)
    return one.shape == other.shape and bool(np.array_equal(one, other, equal_nan=one.dtype.kind == "f"))


def _count_bytes(inputs: Any) -> int:
    if isinstance(inputs, Mapping):
        return sum(map(_count_bytes, inputs.values()))
    return int(inputs.numel() * inputs.element_size())


def _describe(item: Any) -> str:
    kind = type(item).__name__
    return f"a {kind} of {len(item)}" if isinstance(item, tuple | list) else f"of type {kind}"
