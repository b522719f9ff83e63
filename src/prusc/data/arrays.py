"""Arrays as users have them (lists, NumPy, PyTorch), checked and turned into what a split holds."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, overload

import numpy as np
import torch
from jaxtyping import Int
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from prusc.errors import DataError

_CHANNELS = (1, 3, 4)


def as_inputs(inputs: Any) -> Tensor | Dataset[Any]:
    """Return inputs as a tensor; a map-style data set stays as it is.

    Args:
        inputs: A tensor, an array, nested lists or a map-style data set.

    Raises:
        DataError: If images are not [N, C, H, W] or a number is not finite.
    """
    if isinstance(inputs, list | tuple | np.ndarray):
        inputs = _as_tensor(inputs, "inputs")
        # Networks have weights of 32 bits, and NumPy makes numbers of 64.
        inputs = inputs.float() if inputs.dtype == torch.float64 else inputs
    if not isinstance(inputs, Tensor):
        if not (hasattr(inputs, "__getitem__") and hasattr(inputs, "__len__")):
            raise DataError(
                f"inputs are of type {type(inputs).__name__}; expected a tensor, an array, or a map-style data set "
                "with a length and an item for each index"
            )
        return inputs  # type: ignore[no-any-return]
    if inputs.ndim == 0:
        raise DataError("inputs are a single number; expected one entry per sample")
    shape = list(inputs.shape)
    if inputs.dtype == torch.uint8 and inputs.ndim == 3:
        raise DataError(f"images have the shape {shape}; expected [N, C, H, W]: add the channels, images[:, None]")
    if inputs.dtype == torch.uint8 and inputs.ndim == 4 and shape[1] not in _CHANNELS and shape[3] in _CHANNELS:
        raise DataError(
            f"images have the shape {shape}, with the channels last; expected [N, C, H, W]: images.permute(0, 3, 1, 2)"
        )
    if inputs.is_floating_point() and len(inputs):
        # Piece by piece, because a flag per number of all samples takes as much memory as a quarter of them.
        start = 0
        for part in inputs.split(4096):
            bad = (~part.isfinite()).flatten(1).any(dim=1) if part.ndim > 1 else ~part.isfinite()
            if bool(bad.any()):
                raise DataError(
                    f"inputs of sample {start + int(bad.nonzero()[0, 0])} hold a number that is not finite; expected "
                    "finite numbers: repair the sample or leave it out"
                )
            start += len(part)
    return inputs


def as_labels(labels: Any) -> Int[Tensor, " samples"]:
    """Return labels as int64 [N].

    Args:
        labels: Whole numbers of any type: a tensor, an array or a list.

    Raises:
        DataError: If they are not one whole number per sample.
    """
    found = _as_whole_numbers(labels, "labels")
    if found.ndim != 1:
        raise DataError(
            f"labels have the shape {list(found.shape)}; expected one class number per sample, [N]"
            + (": labels.argmax(dim=1)" if found.ndim == 2 and found.shape[1] > 1 else "")
        )
    return found


def as_attributes(attributes: Any) -> Int[Tensor, "samples attributes"] | None:
    """Return attributes as int64 [N, attributes]; a single attribute may come as [N].

    Raises:
        DataError: If they are not whole numbers, at least 0.
    """
    if attributes is None:
        return None
    found = _as_whole_numbers(attributes, "attributes")
    found = found[:, None] if found.ndim == 1 else found
    if found.ndim != 2:
        raise DataError(f"attributes have the shape {list(found.shape)}; expected [N] or [N, attributes]")
    return found


@dataclass(frozen=True, eq=False)
class NumberedIds(Sequence[str]):
    """Names of samples that have none: their numbers. Millions of texts would take as much memory as many a data set.

    Attributes:
        numbers: Number of each sample.
    """

    numbers: Int[Tensor, " samples"]

    def __len__(self) -> int:
        return len(self.numbers)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        if isinstance(index, slice):
            return NumberedIds(self.numbers[index])
        return str(int(self.numbers[index]))


def choose_ids(sample_ids: Sequence[str], indices: Int[Tensor, " chosen"]) -> Sequence[str]:
    """Return the names of some samples."""
    if isinstance(sample_ids, NumberedIds):
        return NumberedIds(sample_ids.numbers[indices])
    return tuple(sample_ids[index] for index in indices.tolist())


def tabulate_ids(sample_ids: Sequence[str]) -> Sequence[str] | NDArray[np.int64]:
    """Return names as a column of a table; names that are numbers stay numbers, which take less memory."""
    return sample_ids.numbers.numpy() if isinstance(sample_ids, NumberedIds) else sample_ids


def as_sample_ids(sample_ids: Iterable[Any] | None, num_samples: int) -> Sequence[str]:
    """Return the name of each sample as text; samples without names are numbered.

    Raises:
        DataError: If a name occurs twice.
    """
    if sample_ids is None:
        return tuple(map(str, range(num_samples)))
    if isinstance(sample_ids, NumberedIds):
        return sample_ids
    if isinstance(sample_ids, str):
        raise DataError(f"sample_ids are the text {sample_ids!r}; expected one name per sample")
    if isinstance(sample_ids, Tensor | np.ndarray):
        sample_ids = sample_ids.tolist()
    names = tuple(map(str, sample_ids))
    if len(set(names)) < len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DataError(f"sample {twice!r} is in sample_ids more than once; expected a name of its own for each")
    return names


def _as_whole_numbers(values: Any, what: str) -> Tensor:
    found = _as_tensor(values, what)
    if found.is_complex() or (found.is_floating_point() and not bool((found == found.round()).all())):
        raise DataError(f"{what} hold numbers that are not whole, such as {found.flatten()[0]}; expected whole numbers")
    return found.detach().cpu().long()


def _as_tensor(values: Any, what: str) -> Tensor:
    try:
        return values if isinstance(values, Tensor) else torch.as_tensor(np.asarray(values))
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{what} cannot be read as numbers ({str(error).splitlines()[0][:150]}); expected a tensor, an array or a "
            "list of numbers"
        ) from error
