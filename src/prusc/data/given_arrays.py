"""Splits from arrays: NumPy, PyTorch, lists, or the paths of image files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from prusc.data.images import load_image_inputs
from prusc.data.parts import Part, read_values
from prusc.errors import DataError

Channels: TypeAlias = Literal["first", "last"]

# Sizes of an axis that are taken for channels.
_USUAL_CHANNELS = (1, 3, 4)


def read_arrays(given: Any, split: str, *, channels: Channels | None, image_size: int, memory_limit_bytes: int) -> Part:
    """Read one split.

    Args:
        given: ``(inputs, labels)`` or ``(inputs, labels, attributes)``, attributes by name.
        split: Name of the split, for errors and the names of the samples.
        channels: Place of the channels' axis of images.
        image_size: Height and width of images that are given by paths.
        memory_limit_bytes: Size up to which images from paths are held in memory.

    Raises:
        DataError: If lengths, shapes or types do not fit.
    """
    if not isinstance(given, tuple | list) or len(given) not in (2, 3):
        raise DataError(
            f"{split} is of type {type(given).__name__}; expected (inputs, labels) or (inputs, labels, attributes), "
            'with attributes such as {"colour": values}'
        )
    if len(given) == 3 and not isinstance(given[2], Mapping):
        raise DataError(
            f"the attributes of {split} are of type {type(given[2]).__name__}; expected them by name: "
            '{"colour": values}'
        )
    labels = read_values(given[1], f"the labels of {split}")
    attributes = {} if len(given) == 2 else dict(given[2])
    inputs, names = _read_inputs(given[0], split, channels, image_size, memory_limit_bytes)
    part = Part(
        inputs=inputs,
        labels=labels,
        sample_ids=names or tuple(f"{split}-{index}" for index in range(len(labels))),
        attributes={
            str(name): read_values(values, f"the values of {name!r} of {split}") for name, values in attributes.items()
        },
    )
    lengths = {"inputs": len(inputs), "labels": len(labels)}  # type: ignore[arg-type]
    lengths |= {name: len(values) for name, values in part.attributes.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{split} needs one entry per sample everywhere; found {lengths}")
    return part


def _read_inputs(
    values: Any, split: str, channels: Channels | None, image_size: int, memory_limit_bytes: int
) -> tuple[Tensor | Dataset[Any], tuple[str, ...] | None]:
    """Return the inputs, and names for the samples if they are files."""
    is_list = not isinstance(values, Tensor | np.ndarray) and len(values) > 0
    if is_list and all(isinstance(value, str | Path) for value in values):
        paths = [Path(path) for path in values]
        names = tuple(map(str, paths))
        return load_image_inputs(paths, image_size, memory_limit_bytes=memory_limit_bytes), names
    try:
        tensor = values.detach().cpu() if isinstance(values, Tensor) else torch.as_tensor(_stack(values))
    except (TypeError, ValueError, RuntimeError) as error:
        raise DataError(
            f"the inputs of {split} are no array of numbers ({error}); expected one tensor or array with the samples "
            "along its first axis, all of one shape, or the paths of image files"
        ) from error
    return place_channels(tensor, split, channels), None


def _stack(values: Any) -> Any:
    """Return an array; a list of tensors is stacked."""
    if isinstance(values, np.ndarray):
        return values
    return np.stack([value.numpy() if isinstance(value, Tensor) else np.asarray(value) for value in values])


def place_channels(inputs: Tensor, split: str, channels: Channels | None) -> Tensor:
    """Return inputs as a network takes them: images with the channels before height and width, numbers in 32 bits.

    Args:
        inputs: The samples along the first axis.
        split: Their name in errors.
        channels: Place of the channels' axis of images; ``None`` recognises it by its size, 1, 3 or 4.

    Raises:
        DataError: If the place of the channels cannot be told.
    """
    if inputs.is_complex() or inputs.dtype == torch.bool:
        raise DataError(f"the inputs of {split} are {inputs.dtype}; expected uint8 images or floating-point numbers")
    if inputs.is_floating_point():
        inputs = inputs.float()
    if inputs.dtype == torch.uint8 and inputs.ndim != 4:
        raise DataError(
            f"the inputs of {split} are uint8 of shape {list(inputs.shape)}; expected images [samples, channels, "
            "height, width]: give grayscale images a channel (images[:, None]), and other numbers as float32"
        )
    if inputs.ndim != 4:
        return inputs
    if channels is None:
        first, last = inputs.shape[1] in _USUAL_CHANNELS, inputs.shape[3] in _USUAL_CHANNELS
        if first == last:
            raise DataError(
                f"the inputs of {split} have the shape {list(inputs.shape)}, and {'both' if first else 'neither'} of "
                "its second and last axis can be the channels; say where they are: channels='first' or channels='last'"
            )
        channels = "first" if first else "last"
    return inputs.permute(0, 3, 1, 2).contiguous() if channels == "last" else inputs.contiguous()
