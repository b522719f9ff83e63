"""A network with one mask logit per weight, for any architecture and without changing the network."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from prusc.errors import ConfigError, ModelError
from prusc.masks.binary_mask import BinaryMask
from prusc.masks.checkpointing import no_checkpointing
from prusc.masks.gumbel_sigmoid import sample_masked_weights
from prusc.masks.plain_network import is_plain, plain_network
from prusc.masks.replaced_tensors import TensorPlaces

_MASKABLE = (_ConvNd, nn.Linear, nn.Bilinear, nn.RNNBase, nn.RNNCellBase, nn.MultiheadAttention)


def maskable_parameters(
    model: nn.Module, *, include: Sequence[str] = ("*",), exclude: Sequence[str] = ()
) -> dict[str, nn.Parameter]:
    """Find the weights that a mask can cover.

    These are the weights of convolutions, linear and bilinear layers, attention, recurrent layers and their cells, but
    never biases, norms or embeddings. A weight that several modules share appears once, under its first name.

    Args:
        model: Any network. Weights behind a parametrisation have the names of `prusc.masks.plain_network`.
        include: Shell patterns of parameter names; at least one must match.
        exclude: Shell patterns of parameter names; none may match.

    Returns:
        The parameters by name, in the model's order.

    Raises:
        ConfigError: If a pattern matches no weight.
        ModelError: If no weight is left to mask.
    """
    model = model if is_plain(model) else plain_network(model)
    maskable = {
        id(parameter)
        for module in model.modules()
        if isinstance(module, _MASKABLE)
        for name, parameter in module.named_parameters(recurse=False)
        if "weight" in name
    }
    named = {name: parameter for name, parameter in model.named_parameters() if id(parameter) in maskable}
    for pattern in (*include, *exclude):
        if named and not any(fnmatchcase(name, pattern) for name in named):
            raise ConfigError(
                f"layer pattern {pattern!r} matches no weight; the weights are {', '.join(list(named)[:8])}"
                + (", ..." if len(named) > 8 else "")
            )
    chosen = {
        name: parameter
        for name, parameter in named.items()
        if any(fnmatchcase(name, pattern) for pattern in include)
        and not any(fnmatchcase(name, pattern) for pattern in exclude)
    }
    if not chosen:
        raise ModelError(
            f"{type(model).__name__} has no weight to mask; masks cover convolutions, linear, attention and recurrent "
            f"layers whose names match {list(include)} and not {list(exclude)}"
        )
    return chosen


def left_out_parameters(
    model: nn.Module, *, include: Sequence[str] = ("*",), exclude: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the names of the parameters that `maskable_parameters` leaves out, such as biases, norms, embeddings."""
    masked = maskable_parameters(model, include=include, exclude=exclude)
    return tuple(name for name, _ in model.named_parameters() if name not in masked)


def whole_mask(model: nn.Module, *, include: Sequence[str] = ("*",), exclude: Sequence[str] = ()) -> BinaryMask:
    """Return the mask that keeps all weights that `maskable_parameters` finds."""
    weights = maskable_parameters(model, include=include, exclude=exclude)
    return BinaryMask({name: torch.ones(weight.shape, dtype=torch.bool) for name, weight in weights.items()})


@contextmanager
def module_modes(model: nn.Module, training: bool) -> Iterator[None]:
    """Switch all modules to training or evaluation mode inside a ``with`` block.

    Args:
        model: The network; each module gets its own mode back at the end.
        training: Whether to switch to training mode.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        model.train(training)
        yield
    finally:
        for module, mode in modes:
            # Setting an attribute of a module is slow, and most have their mode already.
            if module.training != mode:
                module.training = mode


@contextmanager
def evaluation_with_gradients(model: nn.Module) -> Iterator[None]:
    """Compute as in evaluation mode inside a ``with`` block, in a way that gradients can flow back.

    cuDNN has no backward pass for recurrent layers in evaluation mode. They are in training mode without dropout, which
    computes the same.

    Args:
        model: The network; each module gets its own mode and dropout back at the end.
    """
    recurrent = [(module, module.dropout) for module in model.modules() if isinstance(module, nn.RNNBase)]
    with module_modes(model, False):
        try:
            for module, _ in recurrent:
                module.training, module.dropout = True, 0.0
            yield
        finally:
            for module, dropout in recurrent:
                module.dropout = dropout


def _layout_on(device: torch.device) -> torch.memory_format:
    # On a CPU the logits are sampled row by row. Elsewhere a logit has to lie where its weight lies, because a weight
    # that is put into another order in each step costs more than its sampling.
    return torch.contiguous_format if device.type == "cpu" else torch.preserve_format


class MaskedModel(nn.Module):
    """A frozen network whose weights are multiplied by learnable masks.

    Its only parameters are the mask logits. In training mode each forward pass samples a mask; in evaluation mode it
    uses the thresholded mask. The wrapped network keeps its class, weights, buffers, hooks and modes.

    Args:
        model: Any network; it is called, but never changed. Wrapped networks and computed weights are copied, see
            `prusc.masks.plain_network`.
        include: Shell patterns of the parameter names to mask.
        exclude: Shell patterns of the parameter names that are not masked.
        initial_logit: Initial value of all mask logits.
        temperature: Temperature of the Gumbel-sigmoid; greater than 0.
        generator: Source of the sampled masks, on the weights' device; ``None`` uses the global one.
        train_network: Whether the wrapped network is in training mode while masks are sampled. Otherwise its dropout is
            off, and BatchNorm uses its stored statistics.

    Raises:
        ConfigError: If the temperature is not positive or a pattern matches no weight.
        ModelError: If there is no weight to mask.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        include: Sequence[str] = ("*",),
        exclude: Sequence[str] = (),
        initial_logit: float = 0.0,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
        train_network: bool = True,
    ) -> None:
        model = model if is_plain(model) else plain_network(model)
        logits = {
            name: torch.full_like(weight, initial_logit, memory_format=_layout_on(weight.device))
            for name, weight in maskable_parameters(model, include=include, exclude=exclude).items()
        }
        self._set_up(model, logits, temperature, generator)
        self.train_network = train_network

    def _set_up(
        self, model: nn.Module, logits: Mapping[str, Tensor], temperature: float, generator: torch.Generator | None
    ) -> None:
        super().__init__()
        if temperature <= 0:
            raise ConfigError(f"mask temperature must be greater than 0, found {temperature}")
        # Inside a list, the network is not a submodule, so its weights are not among our parameters.
        self._wrapped = [model]
        self.parameter_names = tuple(logits)
        self.temperature = temperature
        self.generator = generator
        self.train_network = True
        self.mask_logits = nn.ParameterList(nn.Parameter(value) for value in logits.values())
        self._places = TensorPlaces(model)
        # BatchNorm updates its statistics in place, so it gets copies of them.
        for index, name in enumerate(self._places.buffer_names):
            self.register_buffer(f"_buffer_{index}", self._places[name].clone(), persistent=False)

    @property
    def model(self) -> nn.Module:
        """The wrapped network."""
        return self._wrapped[0]

    @property
    def num_masked(self) -> int:
        """Number of mask logits."""
        return sum(logits.numel() for logits in self.mask_logits)

    def binary_mask(self) -> BinaryMask:
        """Return the thresholded mask, which keeps the weights with ``logit >= 0``."""
        logits = zip(self.parameter_names, self.mask_logits, strict=True)
        return BinaryMask({name: value.detach() >= 0 for name, value in logits})

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapped network with masked weights.

        Args:
            *args: Positional arguments of the network.
            **kwargs: Keyword arguments of the network.

        Returns:
            Output of the network.
        """
        places = self._places
        tensors: dict[str, Tensor] = {name: places[name].detach() for name in places.parameter_names}
        self._mask(tensors)
        for index, name in enumerate(places.buffer_names):
            tensors[name] = getattr(self, f"_buffer_{index}")
        with self._modes(), no_checkpointing(), places.replaced(tensors):
            return self.model(*args, **kwargs)

    def _mask(self, tensors: dict[str, Tensor]) -> None:
        """Replace the weights by masked ones."""
        weights = [tensors[name] for name in self.parameter_names]
        if self.training:
            masked = sample_masked_weights(
                list(self.mask_logits), weights, temperature=self.temperature, generator=self.generator
            )
        else:
            masked = [weight * (logits.detach() >= 0) for weight, logits in zip(weights, self.mask_logits, strict=True)]
        tensors.update(zip(self.parameter_names, masked, strict=True))

    def _modes(self) -> AbstractContextManager[None]:
        if self.training and not self.train_network:
            return evaluation_with_gradients(self.model)
        return module_modes(self.model, self.training)
