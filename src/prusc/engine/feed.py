"""A split as a network takes it: batches that are transformed and on the device."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn

from prusc.config import RuntimeConfig
from prusc.data.batches import iterate_batches, take_inputs
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.runtime import Runtime
from prusc.errors import DataError
from prusc.models.calls import to_device


@dataclass(frozen=True, eq=False)
class Feed:
    """A split, how its inputs are transformed, and where they are computed on.

    Attributes:
        split: Inputs and labels.
        transform: Normalisation and augmentation; the latter wherever a generator is given.
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
            indices: Which samples; repetitions are allowed.
            generator: Source of the augmentation; ``None`` leaves the inputs whole.
        """
        return self._transform(take_inputs(self.split.inputs, indices), generator)

    def take_labels(self, indices: Int[Tensor, " chosen"]) -> Int[Tensor, " chosen"]:
        """Return the classes of some samples, on the device."""
        return self.split.labels[indices].to(self.runtime.device)

    def iterate(self, part: range | None = None, *, generator: torch.Generator | None = None) -> Iterator[Any]:
        """Yield batches of the split in its order.

        Args:
            part: Which samples; all of them if ``None``.
            generator: Source of the augmentation; ``None`` leaves the inputs whole.
        """
        part = range(len(self)) if part is None else part
        config = self.runtime.config
        for inputs in iterate_batches(
            self.split.inputs,
            torch.arange(part.start, part.stop),
            batch_size=config.eval_batch_size,
            num_workers=config.num_workers,
        ):
            yield self._transform(inputs, generator)

    def of(self, split: Split) -> "Feed":
        """Return the feed of another split, transformed and computed alike."""
        return replace(self, split=split)

    def _transform(self, inputs: Any, generator: torch.Generator | None) -> Any:
        runtime = self.runtime
        inputs = to_device(inputs, runtime.device, channels_last=runtime.config.channels_last)
        with runtime.autocast():
            return self.transform(inputs, generator=generator)


def as_feed(data: Split | Feed, model: nn.Module) -> Feed:
    """Return a feed; that of a split has the split's own transform and computes on the device of the network.

    Raises:
        DataError: If the split holds images and belongs to no `Data`, so that nobody knows their normalisation.
    """
    if isinstance(data, Feed):
        return data
    if data.transform is None and isinstance(data.inputs, Tensor) and data.inputs.dtype == torch.uint8:
        raise DataError(
            "this split holds images and no transform, so their normalisation is unknown; take a split of a Data "
            "(data.train), or give the split transform=InputTransform(mean, std)"
        )
    device = next((parameter.device.type for parameter in model.parameters()), "cpu")
    transform = data.transform or InputTransform((0.0,), (1.0,))
    return Feed(data, transform, Runtime(RuntimeConfig(device=device)))  # type: ignore[arg-type]
