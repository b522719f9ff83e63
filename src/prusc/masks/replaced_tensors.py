"""Parameters and buffers that stand in for those of a network during one call."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import Tensor, nn


class TensorPlaces:
    """Where a network keeps its parameters and buffers.

    `torch.func.functional_call` looks them up in each call. For a large network that takes as long as the sampling of
    its masks.

    Args:
        model: The network; afterwards it gets no other layers.
    """

    def __init__(self, model: nn.Module) -> None:
        self._places: dict[str, list[tuple[dict[str, Tensor | None], str]]] = {}
        self.parameter_names = self._find(model, "_parameters")
        self.buffer_names = self._find(model, "_buffers")

    def _find(self, model: nn.Module, kind: str) -> tuple[str, ...]:
        """Note the places of parameters or buffers, and return their names; one that is shared has its first name."""
        names: dict[int, str] = {}
        for prefix, module in model.named_modules():
            registry = getattr(module, kind)
            for leaf, tensor in registry.items():
                if tensor is not None:
                    name = names.setdefault(id(tensor), f"{prefix}.{leaf}" if prefix else leaf)
                    self._places.setdefault(name, []).append((registry, leaf))
        return tuple(names.values())

    def __getitem__(self, name: str) -> Tensor:
        registry, leaf = self._places[name][0]
        tensor = registry[leaf]
        assert tensor is not None, "only tensors were noted"
        return tensor

    @contextmanager
    def replaced(self, tensors: Mapping[str, Tensor]) -> Iterator[None]:
        """Put tensors in the place of those of these names, also where they are shared, inside a ``with`` block."""
        before: list[tuple[dict[str, Tensor | None], str, Tensor | None]] = []
        try:
            for name, tensor in tensors.items():
                for registry, leaf in self._places[name]:
                    before.append((registry, leaf, registry[leaf]))
                    registry[leaf] = tensor
            yield
        finally:
            for registry, leaf, own in reversed(before):
                registry[leaf] = own
