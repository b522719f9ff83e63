"""Call any network: move batches to its device and check its logits."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from prusc.errors import ModelError
from prusc.models.outputs import logits_of


def to_device(inputs: Any, device: torch.device, *, channels_last: bool = False) -> Any:
    """Move a batch of inputs to a device.

    Args:
        inputs: A tensor, or a dict of tensors.
        device: The device.
        channels_last: Store images, that is tensors with four dimensions, with the channels last.

    Returns:
        The batch on the device.
    """
    if isinstance(inputs, Mapping):
        return {name: _move(value, device) for name, value in inputs.items()}
    if channels_last and inputs.ndim == 4:
        return _move(inputs, device, memory_format=torch.channels_last)
    return _move(inputs, device)


def _move(tensor: Any, device: torch.device, **options: Any) -> Any:
    if device.type == "cuda" and tensor.device.type == "cpu":
        # The copy of pageable memory would wait for the work before it.
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True, **options)


def call_model(model: nn.Module, inputs: Any) -> Tensor:
    """Call a network on a batch and check that it returns logits, perhaps beside other outputs.

    Args:
        model: Any network.
        inputs: A tensor, or a dict of tensors, which become keyword arguments.

    Returns:
        Logits, shape [N, classes].

    Raises:
        ModelError: If the network returns no such tensor, see `prusc.models.outputs.logits_of`.
    """
    output = logits_of(model(**inputs) if isinstance(inputs, Mapping) else model(inputs))
    if not isinstance(output, Tensor) or output.ndim != 2:
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(f"{type(model).__name__} must return logits of shape [batch, classes]; it returned {found}")
    return output
