"""A function of a network: the samples that need it, with the outputs that it is responsible for."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from jaxtyping import Int
from torch import Tensor, nn

from prusc.data.table import Split
from prusc.engine.feed import Feed, as_feed
from prusc.errors import DataError, ModelError
from prusc.models.calls import to_device

IGNORED = -100
"""Label of an output that does not count, such as padding or the answer to another question."""


@dataclass(frozen=True, eq=False, repr=False)
class Examples:
    """Inputs and labels in memory, for networks of any kind.

    Attributes:
        inputs: A tensor with the samples along its first dimension; or several by name, which become the keyword
            arguments of the network.
        labels: Class of each output of each sample; `IGNORED` (-100) where an output does not count.
    """

    inputs: Tensor | Mapping[str, Tensor]
    labels: Int[Tensor, "samples ..."]

    def __post_init__(self) -> None:
        parts = self.inputs if isinstance(self.inputs, Mapping) else {"inputs": self.inputs}
        for name, values in parts.items():
            if len(values) != len(self.labels):
                raise DataError(f"{name} has {len(values)} samples and labels {len(self.labels)}; they need one each")

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Examples({len(self)} samples, {self.labels[0].numel() if len(self) else 0} outputs each)"

    def take(self, indices: Int[Tensor, " chosen"]) -> Tensor | dict[str, Tensor]:
        """Return the inputs of some samples as one batch."""
        if isinstance(self.inputs, Mapping):
            return {name: values[indices] for name, values in self.inputs.items()}
        return self.inputs[indices]

    def take_labels(self, indices: Int[Tensor, " chosen"]) -> Tensor:
        """Return the labels of some samples."""
        return self.labels[indices]

    def subset(self, indices: Int[Tensor, " chosen"]) -> "Examples":
        """Return some of the samples."""
        return Examples(self.take(indices), self.labels[indices])

    def only_outputs(self, chosen: slice) -> "Examples":
        """Return the samples with all other outputs ignored.

        Args:
            chosen: Positions of the outputs that count, along the last dimension of the labels.
        """
        labels = torch.full_like(self.labels, IGNORED)
        labels[..., chosen] = self.labels[..., chosen]
        return Examples(self.inputs, labels)


@dataclass(frozen=True, eq=False, repr=False)
class Part:
    """Some of the samples of other data, without a copy of their inputs.

    Attributes:
        data: The other data.
        indices: Positions of the samples in it.
    """

    data: Examples | Split | Feed
    indices: Int[Tensor, " samples"]

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        return f"Part({len(self)} of {len(self.data)} samples)"

    @property
    def labels(self) -> Tensor:
        """Class of each output of each sample."""
        return _labels_of(self.data)[self.indices]


FunctionData: TypeAlias = Examples | Split | Feed | Part


@dataclass(frozen=True)
class PartFeed:
    """A `Part` that gives batches."""

    data: Examples | Feed
    indices: Tensor

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def labels(self) -> Tensor:
        """Class of each output of each sample."""
        return _labels_of(self.data)[self.indices]

    def take(self, indices: Tensor) -> Any:
        """Return the inputs of some samples as one batch."""
        return self.data.take(self.indices[indices])

    def take_labels(self, indices: Tensor) -> Tensor:
        """Return the labels of some samples."""
        return self.data.take_labels(self.indices[indices])


FunctionFeed: TypeAlias = Examples | Feed | PartFeed


def as_function_feed(data: FunctionData, model: nn.Module) -> FunctionFeed:
    """Return data that give batches: a split gets its own transform and the device of the network."""
    if isinstance(data, Part):
        whole = data.data if isinstance(data.data, Examples) else as_feed(data.data, model)
        return PartFeed(whole, data.indices)
    return data if isinstance(data, Examples) else as_feed(data, model)


def take_part(data: FunctionFeed, indices: Int[Tensor, " chosen"]) -> PartFeed:
    """Return some of the samples, without a copy of their inputs."""
    if isinstance(data, PartFeed):
        return PartFeed(data.data, data.indices[indices])
    return PartFeed(data, indices)


def check_samples(functions: Mapping[str, FunctionData]) -> None:
    """Refuse data on which nothing can be measured.

    Raises:
        DataError: If there is no function, or one without samples or without outputs that count.
    """
    if not functions:
        raise DataError("no function was given; name at least one, with the samples that need it")
    for name, data in functions.items():
        if len(data) == 0:
            raise DataError(f"function {name!r} has no samples; give it some, or leave it out")
        if not bool((_labels_of(data) != IGNORED).any()):
            raise DataError(f"all outputs of function {name!r} are ignored; give some of them a label")


def check_functions(functions: Mapping[str, FunctionData]) -> None:
    """Refuse data that no mask can be learned from.

    Raises:
        DataError: As `check_samples`, or if a function has only one class.
    """
    check_samples(functions)
    for name, data in functions.items():
        labels = _labels_of(data)
        counting = labels[labels != IGNORED]
        if bool((counting == counting[0]).all()):
            raise DataError(
                f"all samples of function {name!r} have class {int(counting[0])}; a mask that always says this class "
                "would serve it, so give it samples of at least two classes"
            )


def function_labels(data: FunctionFeed) -> Tensor:
    """Return all labels of a function, on the CPU."""
    return _labels_of(data).cpu()


def _labels_of(data: FunctionData | FunctionFeed) -> Tensor:
    return data.split.labels if isinstance(data, Feed) else data.labels


def iterate_inputs(data: FunctionFeed, batch_size: int) -> Iterator[Any]:
    """Yield the inputs of all samples in order, in batches."""
    if isinstance(data, Feed):
        yield from data.iterate()
        return
    for indices in torch.arange(len(data)).split(batch_size):
        yield data.take(indices)


def call_outputs(network: Callable[..., Any], inputs: Any, device: torch.device) -> Tensor:
    """Call a network that returns logits for one or several outputs per sample.

    Args:
        network: Any network.
        inputs: A tensor, or a dict of tensors, which become keyword arguments.
        device: Where the network is.

    Returns:
        Logits with the classes along the last dimension, shape [N, C] or [N, ..., C].

    Raises:
        ModelError: If the network returns anything else.
    """
    inputs = to_device(inputs, device)
    output = network(**inputs) if isinstance(inputs, Mapping) else network(inputs)
    if not isinstance(output, Tensor) or output.ndim < 2:
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(
            f"a network must return logits of shape [batch, classes] or [batch, outputs, classes]; this one returned "
            f"{found}"
        )
    return output


def device_of(model: nn.Module) -> torch.device:
    """Return the device of a network."""
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))


def check_outputs(name: str, logits: Tensor, labels: Tensor) -> None:
    """Refuse labels that do not fit the logits of a network.

    Raises:
        ModelError: If the shapes differ.
        DataError: If a label is out of range.
    """
    if logits.shape[:-1] != labels.shape:
        raise ModelError(
            f"function {name!r}: the network returns logits of shape {tuple(logits.shape)} for labels of shape "
            f"{tuple(labels.shape)}; expected the shape of the labels, then the classes"
        )
    counting = labels[labels != IGNORED]
    if len(counting) and not (int(counting.min()) >= 0 and int(counting.max()) < logits.shape[-1]):
        bad = int(counting.min()) if int(counting.min()) < 0 else int(counting.max())
        raise DataError(
            f"function {name!r}: label {bad} is out of range; the network has {logits.shape[-1]} classes, so it must "
            f"be in 0..{logits.shape[-1] - 1}, or {IGNORED} for an output that does not count"
        )
