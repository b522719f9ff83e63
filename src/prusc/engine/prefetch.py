"""Batches are loaded, and copied to a GPU, while the ones before them are used."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from queue import Full, Queue
from threading import Event, Thread
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor

from prusc.models.calls import to_device

ItemT = TypeVar("ItemT")


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


@contextmanager
def run_ahead(items: Iterable[ItemT], device: torch.device, *, num_ahead: int = 2) -> Iterator[Iterator[ItemT]]:
    """Inside the ``with`` block, make items in a thread while those before are used; their order stays.

    Args:
        items: One thread makes them all, one after the other. So random numbers that they draw stay the same.
        device: A GPU's work is launched in the stream of the caller.
        num_ahead: Number of items that may wait.

    Yields:
        The items. An error of the thread is raised when its item would come.
    """
    maker = _Maker(items, device, num_ahead)
    maker.start()
    try:
        yield maker.take()
    finally:
        maker.stop()


class _Maker(Generic[ItemT]):
    """The thread that makes items, and the queue where they wait."""

    def __init__(self, items: Iterable[ItemT], device: torch.device, num_ahead: int) -> None:
        self._items = items
        self._stream = torch.cuda.current_stream(device) if device.type == "cuda" else None
        self._waiting: Queue[list[ItemT] | BaseException] = Queue(num_ahead)
        self._stopped = Event()
        self._thread = Thread(target=self._make, name="prusc-ahead", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def take(self) -> Iterator[ItemT]:
        while True:
            found = self._waiting.get()
            if isinstance(found, BaseException):
                raise found
            if not found:
                return
            yield found[0]

    def _make(self) -> None:
        try:
            with nullcontext() if self._stream is None else torch.cuda.stream(self._stream):
                for item in self._items:
                    self._offer([item])
                    if self._stopped.is_set():
                        return
            self._offer([])
        except BaseException as error:  # noqa: BLE001 -- the caller gets it
            self._offer(error)

    def _offer(self, found: list[ItemT] | BaseException) -> None:
        """Wait for a free place, unless nobody takes items any more."""
        while not self._stopped.is_set():
            try:
                self._waiting.put(found, timeout=0.1)
            except Full:
                continue
            return
