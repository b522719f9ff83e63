"""What networks return besides logits: dictionaries, auxiliary outputs, probabilities, one logit for two classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from prusc.errors import ModelError
from prusc.masks import module_modes

_KEYS = ("logits", "out", "output", "outputs", "preds", "predictions", "scores")
_ACTIVATIONS = (nn.Sigmoid, nn.Softmax, nn.LogSoftmax)


def logits_of(output: Any) -> Any:
    """Return the logits in what a network returned, or the output itself if they cannot be told.

    Of a dictionary it is the usual entry, such as ``logits``. Of a tuple it is the matrix with the fewest columns, but
    at least two; of several such ones the first, because auxiliary outputs come last.

    Args:
        output: A tensor, a dictionary, a tuple, or an object with ``logits``.
    """
    if isinstance(output, Tensor):
        return output
    if isinstance(logits := getattr(output, "logits", None), Tensor):
        return logits
    if isinstance(output, Mapping):
        named = next((output[key] for key in _KEYS if isinstance(output.get(key), Tensor)), None)
        return named if named is not None else _choose(list(output.values()), output)
    return _choose(list(output), output) if isinstance(output, tuple | list) else output


def _choose(parts: list[Any], output: Any) -> Any:
    matrices = [part for part in parts if isinstance(part, Tensor) and part.ndim == 2 and part.is_floating_point()]
    wide = [matrix for matrix in matrices if matrix.shape[1] >= 2] or matrices
    return min(wide, key=lambda matrix: matrix.shape[1]) if wide else output


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of a module that outputs a tensor."""

    name: str
    module: nn.Module
    output: Tensor


SECOND_LOGIT = "is now the second of two"
"""Words of `give_logits` for a head with one output that got another one."""


def give_logits(network: nn.Module, inputs: Any, num_classes: int) -> list[str]:
    """Change a network in place, so that it returns one logit per class.

    A last sigmoid or softmax is taken off. A head with one output of a network for two classes gets a second one, which
    is always 0, so that the softmax of both is the sigmoid of the one.

    Args:
        network: The network.
        inputs: One or more inputs in the form that the network takes.
        num_classes: Number of classes.

    Returns:
        What was changed, in words.

    Raises:
        ModelError: If the network has one output for two classes, and its head cannot be told.
    """
    changes = []
    calls, output = _record(network, inputs)
    if not isinstance(output, Tensor):
        return []
    last = next((call for call in reversed(calls) if _is_last(call, output)), None)
    if last is not None and sum(call.module is last.module for call in calls) == 1 and last.name:
        _replace(network, last.name, nn.Identity())
        changes.append(f"its last {type(last.module).__name__} is taken off, because prusc works with logits")
        calls, output = _record(network, inputs)
    if num_classes != 2 or output.numel() != len(output):
        return changes
    head = next(
        (
            call
            for call in reversed(calls)
            if isinstance(call.module, nn.Linear) and torch.equal(call.output.flatten(), output.flatten())
        ),
        None,
    )
    if head is None or not head.name:
        raise ModelError(
            f"{type(network).__name__} returns one number per image, which is not the output of a linear layer; let it "
            "return that layer's output, without a sigmoid, or two logits"
        )
    _replace(network, head.name, _with_two_outputs(head.module))
    _, both = _record(network, inputs)
    if not isinstance(both, Tensor) or both.shape != (len(output), 2) or not both[:, 1].allclose(output.flatten()):
        raise ModelError(
            f"{type(network).__name__} returns one number per image and changes the shape of its head's output; let it "
            "return that output itself, or two logits"
        )
    changes.append(f"its one logit, of {head.name}, {SECOND_LOGIT}; the first is 0, so their softmax is its sigmoid")
    return changes


def widen_to_two(weight: Tensor) -> Tensor:
    """Return the weight or bias of a head with one output as that of one with two, of which the first is 0."""
    return torch.cat([torch.zeros_like(weight), weight])


def _with_two_outputs(head: nn.Module) -> nn.Linear:
    assert isinstance(head, nn.Linear)
    wider = nn.Linear(
        head.in_features, 2, bias=head.bias is not None, device=head.weight.device, dtype=head.weight.dtype
    )
    with torch.no_grad():
        for name, parameter in head.named_parameters():
            wider.get_parameter(name).copy_(widen_to_two(parameter))
    return wider.train(head.training)


def _is_last(call: _Call, output: Tensor) -> bool:
    return isinstance(call.module, _ACTIVATIONS) and torch.equal(call.output.flatten(), output.flatten())


def _replace(network: nn.Module, name: str, module: nn.Module) -> None:
    parent, _, own = name.rpartition(".")
    setattr(network.get_submodule(parent), own, module)


def _record(network: nn.Module, inputs: Any) -> tuple[list[_Call], Any]:
    """Call a network, and return the calls of its linear layers and activations, and its logits."""
    calls: list[_Call] = []
    watched: dict[nn.Module, str] = {
        module: name for name, module in network.named_modules() if isinstance(module, (nn.Linear, *_ACTIVATIONS))
    }

    def remember(module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            calls.append(_Call(watched[module], module, output))

    handles = [module.register_forward_hook(remember) for module in watched]
    try:
        with torch.no_grad(), module_modes(network, False):
            output = network(**inputs) if isinstance(inputs, Mapping) else network(inputs)
    finally:
        for handle in handles:
            handle.remove()
    return calls, logits_of(output)
