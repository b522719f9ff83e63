"""A feed turns a split into batches that are transformed and on the device."""

from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from prusc.config import RuntimeConfig
from prusc.data.batches import iterate_batches, take_inputs
from prusc.data.images import ImageFiles
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.prefetch import ItemT, move_ahead, run_ahead
from prusc.engine.runtime import Runtime
from prusc.errors import DataError
from prusc.models.calls import to_device


@dataclass(frozen=True, eq=False)
class Feed:
    """A split, the transform of its inputs, and the device they go to.

    Attributes:
        split: Inputs and labels.
        transform: Normalisation, and augmentation where a generator is passed.
        runtime: Device, memory layout, precision and processes.
    """

    split: Split
    transform: InputTransform
    runtime: Runtime

    def __len__(self) -> int:
        return len(self.split)

    def take(self, indices: Int[Tensor, " chosen"], *, generator: torch.Generator | None = None) -> Any:
        """Return the inputs of some samples as one batch.

        Args:
            indices: Positions in the split; repetitions are allowed.
            generator: Source of the augmentation; no augmentation if ``None``.
        """
        inputs = take_inputs(self.split.inputs, indices, num_threads=max(self.runtime.config.num_workers, 1))
        inputs = to_device(inputs, self.runtime.device, channels_last=self.runtime.config.channels_last)
        return self._transform(inputs, generator)

    def take_labels(self, indices: Int[Tensor, " chosen"]) -> Int[Tensor, " chosen"]:
        """Return the classes of some samples, on the device."""
        labels: Tensor = to_device(self.split.labels[indices], self.runtime.device)
        return labels

    def iterate(self, part: range | None = None, *, generator: torch.Generator | None = None) -> Iterator[Any]:
        """Yield batches in the order of the split.

        Args:
            part: Positions in the split; the whole split if ``None``.
            generator: Source of the augmentation; no augmentation if ``None``.
        """
        part = range(len(self)) if part is None else part
        config = self.runtime.config
        batches = iterate_batches(
            self.split.inputs,
            torch.arange(part.start, part.stop),
            batch_size=config.eval_batch_size,
            num_workers=config.num_workers,
        )
        for inputs in move_ahead(batches, self.runtime.device, channels_last=config.channels_last):
            yield self._transform(inputs, generator)

    def ahead(self, items: Iterable[ItemT]) -> AbstractContextManager[Iterator[ItemT]]:
        """Return a context that makes items with batches of this feed ahead of their use, where that saves time.

        These are images from files, which threads decode, and any inputs in memory that go to a GPU. Other data sets
        may not bear another thread.

        Args:
            items: An iterator that takes the batches.
        """
        device, inputs = self.runtime.device, self.split.inputs
        is_decoded = isinstance(inputs, ImageFiles) and self.runtime.config.num_workers > 0
        if is_decoded or (isinstance(inputs, Tensor) and device.type == "cuda"):
            return run_ahead(items, device)
        return nullcontext(iter(items))

    def of(self, split: Split) -> "Feed":
        """Return the feed of another split, with the same transform and runtime."""
        return replace(self, split=split)

    def _transform(self, inputs: Any, generator: torch.Generator | None) -> Any:
        with self.runtime.autocast():
            return self.transform(inputs, generator=generator)


def as_feed(data: Split | Feed, model: nn.Module) -> Feed:
    """Return a feed: a split gets its own transform and the device of the network.

    Raises:
        DataError: If the split holds images without a transform, because their normalisation is then unknown.
    """
    if isinstance(data, Feed):
        return data
    if data.transform is None and isinstance(data.inputs, Tensor) and data.inputs.dtype == torch.uint8:
        raise DataError(
            "this split holds images without a transform, so their normalisation is unknown; pass a split of a Data "
            "object (data.train), or create the split with transform=InputTransform(mean, std)"
        )
    device = next((parameter.device.type for parameter in model.parameters()), "cpu")
    transform = data.transform or InputTransform((0.0,), (1.0,))
    return Feed(data, transform, Runtime(RuntimeConfig(device=device)))  # type: ignore[arg-type]
