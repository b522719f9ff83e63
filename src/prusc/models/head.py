"""The head, which is the linear layer that computes the logits, and its inputs, the representations."""

from collections.abc import Callable
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from prusc.errors import ModelError, nearest_names
from prusc.masks import module_modes
from prusc.models.calls import call_model


def find_head(model: nn.Module, sample_inputs: Any, num_classes: int | None = None) -> str:
    """Find the linear layer whose output is the network's output, by one call of the network.

    Args:
        model: Any network; its modes and hooks do not change.
        sample_inputs: One or more inputs in the form that the network takes.
        num_classes: Number of outputs that the head must have; any number if ``None``.

    Returns:
        Module name of the head.

    Raises:
        ModelError: If the output of no linear layer is the network's output, or the head has another number of outputs.
    """
    outputs: list[tuple[str, Tensor]] = []

    def remember(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: outputs.append((name, output))

    linear = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    handles = [module.register_forward_hook(remember(name)) for name, module in linear]
    try:
        with torch.no_grad(), module_modes(model, False):
            logits = call_model(model, sample_inputs)
    finally:
        for handle in handles:
            handle.remove()
    found = [name for name, output in outputs if output is logits or torch.equal(output, logits)]
    if not found:
        raise ModelError(
            f"{type(model).__name__} has no head: no linear layer's output is the network's output; linear layers are "
            f"{', '.join(name for name, _ in linear[-5:]) or 'absent'}"
        )
    if num_classes is not None and logits.shape[1] != num_classes:
        raise ModelError(
            f"{type(model).__name__} has {logits.shape[1]} outputs, but the data have {num_classes} classes; load a "
            "network that was trained on these classes, or build one with as many outputs"
        )
    return found[-1]


def get_head(model: nn.Module, name: str) -> nn.Linear:
    """Return the head.

    Args:
        model: The network.
        name: Module name of the head.

    Returns:
        The linear layer.

    Raises:
        ModelError: If the network has no linear layer of that name.
    """
    modules = dict(model.named_modules())
    if not isinstance(modules.get(name), nn.Linear):
        linear = [key for key, module in modules.items() if isinstance(module, nn.Linear)]
        raise ModelError(f"{type(model).__name__} has no linear layer {name!r}{nearest_names(name, linear)}")
    head = modules[name]
    assert isinstance(head, nn.Linear)
    return head


class RepresentationTap:
    """Record the inputs of the head inside a ``with`` block; the hook is removed at the end.

    Args:
        model: Network that holds the head.
        head_name: Module name of the head.

    Raises:
        ModelError: If the network has no linear layer of that name.
    """

    def __init__(self, model: nn.Module, head_name: str) -> None:
        self._head = get_head(model, head_name)
        self._representations: Tensor | None = None

    def __enter__(self) -> "RepresentationTap":
        self._handle = self._head.register_forward_pre_hook(self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.remove()
        self._representations = None

    def _remember(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._representations = inputs[0]

    def take(self) -> Float[Tensor, "batch dim"]:
        """Return the representations of the last forward pass and forget them.

        Returns:
            Representations, shape [N, D].

        Raises:
            ModelError: If there was no forward pass, or the head's input has another shape.
        """
        representations, self._representations = self._representations, None
        if representations is None or representations.ndim != 2:
            found = "nothing" if representations is None else f"shape {tuple(representations.shape)}"
            raise ModelError(f"the head must receive representations of shape [batch, dim]; it received {found}")
        return representations
