"""Batches of inputs in a given order, from memory or through loader processes."""

import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, default_collate

from prusc.data.images import ImageFiles, load_images
from prusc.data.rows import StoredRows
from prusc.errors import ConfigError, DataError, PruscError

Inputs: TypeAlias = Tensor | Mapping[str, Tensor]
"""One batch: a tensor with the samples along its first dimension, or several such tensors by name."""


def iterate_batches(
    inputs: Tensor | Dataset[Any], indices: Int[Tensor, " chosen"], *, batch_size: int, num_workers: int = 0
) -> Iterator[Inputs]:
    """Yield the inputs of consecutive slices of ``indices``, in exactly that order.

    Neither the global random state nor the inputs change. If the indices are a contiguous range of a tensor, the
    batches are views of it, so callers must not write into them.

    Args:
        inputs: Inputs of a `prusc.data.table.Split`.
        indices: Indices of the samples; may repeat.
        batch_size: Number of samples in a batch; the last batch may have fewer.
        num_workers: Number of loader processes; 0 loads in this process. Inputs in memory need none, and none is
            started.

    Yields:
        The inputs of the next ``batch_size`` indices.

    Raises:
        ConfigError: If ``batch_size`` is less than 1 or ``num_workers`` is negative.
        DataError: If an index is out of range, an item cannot be loaded or the items of a batch do not fit together.
    """
    if batch_size < 1:
        raise ConfigError(f"batch_size is {batch_size}; expected at least 1")
    if num_workers < 0:
        raise ConfigError(f"num_workers is {num_workers}; expected 0 or more")
    _check_indices(inputs, indices)
    # Separate generators do the work, so that the checks above run at the call and not at the first batch.
    if isinstance(inputs, Tensor):
        return _iterate_tensor(inputs, indices, batch_size)
    if isinstance(inputs, StoredRows):
        return (inputs[part] for part in indices.split(batch_size) if len(part))
    return _iterate_dataset(inputs, indices, batch_size, num_workers)


def take_inputs(inputs: Tensor | Dataset[Any], indices: Int[Tensor, " chosen"], *, num_threads: int = 1) -> Inputs:
    """Return the inputs of ``indices`` as one batch, in that order.

    Args:
        inputs: Inputs of a `prusc.data.table.Split`.
        indices: Indices of the samples; may repeat.
        num_threads: Number of threads that decode image files.

    Returns:
        A new batch.

    Raises:
        DataError: If an index is out of range, an item cannot be loaded or the items do not fit together.
    """
    _check_indices(inputs, indices)
    if isinstance(inputs, Tensor):
        return inputs.index_select(0, indices.to(inputs.device))
    if isinstance(inputs, StoredRows):
        return inputs[indices]
    if len(indices) == 0:
        raise DataError("no samples were asked for; a batch from a data set needs at least one index")
    if isinstance(inputs, ImageFiles):
        return load_images([inputs.paths[i] for i in indices.tolist()], inputs.size, num_threads=num_threads)
    return _collate([inputs[index] for index in indices.tolist()])


def choose_inputs(inputs: Tensor | Dataset[Any], indices: Int[Tensor, " chosen"]) -> Tensor | Dataset[Any]:
    """Return the inputs of some samples for a split of their own; what is on disk is not read."""
    if isinstance(inputs, Tensor):
        return inputs[indices]
    return inputs.choose(indices) if isinstance(inputs, StoredRows) else Subset(inputs, indices.tolist())


def _check_indices(inputs: Tensor | Dataset[Any], indices: Tensor) -> None:
    num_samples = len(inputs)  # type: ignore[arg-type]
    if indices.dim() != 1 or indices.is_floating_point() or indices.dtype == torch.bool:
        raise DataError(
            f"indices are {indices.dtype} of shape {tuple(indices.shape)}; expected integers, one for each sample"
        )
    if len(indices) and not (int(indices.min()) >= 0 and int(indices.max()) < num_samples):
        low, high = int(indices.min()), int(indices.max())
        raise DataError(
            f"index {low if low < 0 else high} is out of range; with {num_samples} samples it must be in "
            f"0..{num_samples - 1}"
        )


def _iterate_tensor(inputs: Tensor, indices: Tensor, batch_size: int) -> Iterator[Tensor]:
    if len(indices) and bool((indices.diff() == 1).all()):
        first = int(indices[0])
        yield from inputs[first : first + len(indices)].split(batch_size)
        return
    for batch in indices.to(inputs.device).split(batch_size) if len(indices) else ():
        yield inputs.index_select(0, batch)


def _iterate_dataset(dataset: Dataset[Any], indices: Tensor, batch_size: int, num_workers: int) -> Iterator[Inputs]:
    loader = DataLoader(
        _Chosen(dataset, indices.tolist()),
        batch_size=batch_size,
        num_workers=num_workers,
        collate_fn=_collate_or_failure,
        # A loader without a generator of its own draws from the global one.
        generator=torch.Generator().manual_seed(0),
    )
    with _interrupts_held_back():
        batches = iter(loader)
    for batch in batches:
        if isinstance(batch, _Failure):
            raise batch.error
        yield batch


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Delay Ctrl-C. Processes that start meanwhile never receive it, because only this process ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True)
class _Failure:
    """An error from a loader process, which would otherwise bury its message in a stack trace."""

    error: PruscError


@dataclass(frozen=True)
class _Chosen(Dataset[Any]):
    """The chosen items of a data set, in order; an item that cannot be loaded becomes a failure."""

    dataset: Dataset[Any]
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, position: int) -> Any:
        try:
            return self.dataset[self.indices[position]]
        except PruscError as error:
            return _Failure(error)


def _collate_or_failure(items: list[Any]) -> Inputs | _Failure:
    for item in items:
        if isinstance(item, _Failure):
            return item
    try:
        return _collate(items)
    except PruscError as error:
        return _Failure(error)


def _collate(items: list[Any]) -> Inputs:
    """Stack items that are tensors, arrays or numbers, or mappings of those."""
    if isinstance(items[0], tuple | list):
        raise DataError(
            f"an item of the data set is a {type(items[0]).__name__} of {len(items[0])}; expected a tensor or a "
            "mapping of tensors: the inputs only, without the label"
        )
    try:
        batch = default_collate(items)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        shapes = {str(tuple(item.shape)) if isinstance(item, Tensor) else type(item).__name__ for item in items}
        raise DataError(
            f"the items of a batch do not go together ({error}); found {', '.join(sorted(shapes))}, expected tensors "
            "of one shape or mappings of tensors with the same names"
        ) from error
    if not isinstance(batch, Tensor | Mapping):
        raise DataError(
            f"an item of the data set is a {type(items[0]).__name__}; expected a tensor or a mapping of tensors"
        )
    return batch
