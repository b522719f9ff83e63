"""Batches go to a GPU while it computes with the ones before them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from prusc.models.calls import to_device


def move_ahead(batches: Iterable[Any], device: torch.device, *, channels_last: bool = False) -> Iterator[Any]:
    """Yield batches on a device; to a GPU, each is copied while the GPU works on the one before.

    Args:
        batches: Tensors, or mappings of tensors.
        device: The device.
        channels_last: Store images with the channels last.

    Yields:
        The batches in their order, see `prusc.models.calls.to_device`.
    """
    if device.type != "cuda":
        for batch in batches:
            yield to_device(batch, device, channels_last=channels_last)
        return
    # In the stream of the computation a copy would begin only after the work before it.
    copying = torch.cuda.Stream(device)
    waiting: tuple[Any, torch.cuda.Event] | None = None
    for batch in batches:
        with torch.cuda.stream(copying):
            moved = to_device(batch, device, channels_last=channels_last)
            done = copying.record_event()
        if waiting is not None:
            yield _ready(*waiting, device)
        waiting = moved, done
    if waiting is not None:
        yield _ready(*waiting, device)


def _ready(batch: Any, done: torch.cuda.Event, device: torch.device) -> Any:
    """Let the current stream wait for the copy, and keep the memory until that stream has used it."""
    stream = torch.cuda.current_stream(device)
    stream.wait_event(done)
    tensors = batch.values() if isinstance(batch, Mapping) else (batch,)
    for tensor in tensors:
        if isinstance(tensor, Tensor):
            tensor.record_stream(stream)
    return batch
