"""Predictions of a network under a fixed mask."""

from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn
from torch.func import functional_call

from prusc.errors import ModelError
from prusc.masks import BinaryMask, module_modes
from prusc.masks.plain_network import is_plain, plain_network
from prusc.stages.modularity.functions import (
    IGNORED,
    FunctionData,
    as_function_feed,
    call_outputs,
    check_outputs,
    device_of,
    function_labels,
    iterate_inputs,
)


def masked_weights(model: nn.Module, mask: BinaryMask) -> dict[str, Tensor]:
    """Return the masked weights of a network, by name, with zeros where the mask prunes.

    Raises:
        ModelError: If the mask does not fit the network.
    """
    parameters = dict(model.named_parameters())
    for name, kept in mask.tensors.items():
        if name not in parameters or parameters[name].shape != kept.shape:
            raise ModelError(f"the mask of {name!r}, of shape {tuple(kept.shape)}, does not fit the network")
    return {name: parameters[name].detach() * kept.to(parameters[name].device) for name, kept in mask.tensors.items()}


def predict_outputs(
    model: nn.Module, mask: BinaryMask | None, data: FunctionData, *, name: str = "", batch_size: int = 256
) -> Int[Tensor, "samples ..."]:
    """Return the predicted class of each output, in evaluation mode.

    Args:
        model: Not changed.
        mask: Weights to keep; ``None`` keeps all.
        data: Samples of a function.
        name: Name of the function in errors.
        batch_size: Samples per batch, for `Examples`.

    Returns:
        Predictions on the CPU, of the shape of the labels.

    Raises:
        ModelError: If the mask or the labels do not fit the network.
        DataError: If a label is out of range.
    """
    # Masks have the names of the innermost network.
    model = model if is_plain(model) else plain_network(model)
    feed, device = as_function_feed(data, model), device_of(model)
    labels = function_labels(feed)
    weights = {} if mask is None else masked_weights(model, mask)

    def call(*args: Any, **kwargs: Any) -> Any:
        return functional_call(model, weights, args, kwargs)

    found: list[Tensor] = []
    done = 0
    with torch.no_grad(), module_modes(model, False):
        for inputs in iterate_inputs(feed, batch_size):
            logits = call_outputs(call, inputs, device)
            check_outputs(name, logits, labels[done : done + len(logits)])
            done += len(logits)
            found.append(logits.argmax(-1).cpu())
    return torch.cat(found)


def judge_samples(
    predictions: Int[Tensor, "samples ..."], labels: Int[Tensor, "samples ..."]
) -> Bool[Tensor, " counting"]:
    """Return which samples are right, that is in all outputs that count.

    Samples without an output that counts are left out.
    """
    counting = (labels != IGNORED).reshape(len(labels), -1)
    right = (predictions == labels).reshape(len(labels), -1) | ~counting
    return right.all(1)[counting.any(1)]
