"""A network with one mask logit per channel."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from prusc.errors import ModelError
from prusc.masks.binary_mask import BinaryMask
from prusc.masks.channel_groups import ChannelGroup, ChannelMap, channel_mask
from prusc.masks.gumbel_sigmoid import sample_masked_weights
from prusc.masks.masked_model import MaskedModel


class ChannelMaskedModel(MaskedModel):
    """A frozen network whose channels are multiplied by learnable masks, where they are read.

    Each forward pass in training mode draws one bit per unit of a group, and all layers that read the unit share it.
    A channel is masked where it is read rather than where it is written. So its logit gets a gradient while it is off,
    and activation functions and norms between writer and reader do not matter.

    Args:
        model: Any network; it is called, but never changed.
        groups: Groups of its channels, as `prusc.models.channels.find_channels` returns them.
        head_name: Module name of the head. Its input is masked, so that representations are those of the masked
            network.
        initial_logit: Initial value of all mask logits.
        temperature: Temperature of the Gumbel-sigmoid; greater than 0.
        generator: Source of the sampled masks, on the weights' device; ``None`` uses the global one.

    Raises:
        ConfigError: If the temperature is not positive.
        ModelError: If there is no group.
    """

    def __init__(
        self,
        model: nn.Module,
        groups: Sequence[ChannelGroup],
        *,
        head_name: str | None = None,
        initial_logit: float = 0.0,
        temperature: float = 1.0,
        generator: torch.Generator | None = None,
    ) -> None:
        if not groups:
            raise ModelError(
                f"{type(model).__name__} has no channels that can be removed; learn one mask logit per weight instead "
                "(masks.granularity weight)"
            )
        device = next(model.parameters()).device
        logits = {group.name: torch.full((group.size,), initial_logit, device=device) for group in groups}
        self._set_up(model, logits, temperature, generator)
        # A copy to a GPU in every step would wait for the work before it.
        self.groups = tuple(group.to(device) for group in groups)
        self.head_name = head_name

    def binary_mask(self, threshold: float = 0.0) -> BinaryMask:
        """Return the mask of the weights that write or read the units with ``logit >= threshold``.

        A group without such a unit keeps the one with the largest logit.
        """
        return channel_mask(self.model, self.groups, self._keep(threshold))

    def _keep(self, threshold: float = 0.0) -> list[Bool[Tensor, "..."]]:
        return [keep_units(logits.detach(), threshold) for logits in self.mask_logits]

    def _mask(self, tensors: dict[str, Tensor]) -> None:
        for name, factor in self._factors.items():
            if name != self.head_name:
                weight = tensors[f"{name}.weight"]
                tensors[f"{name}.weight"] = weight * factor.view(1, -1, *[1] * (weight.ndim - 2))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the wrapped network with masked channels; arguments and output are those of the network."""
        self._factors = _spread(self.groups, self._draw(), self.model)
        try:
            with self._masked_representations():
                return super().forward(*args, **kwargs)
        finally:
            # A graph that is kept until the next pass would hold its memory.
            self._factors = {}

    def _draw(self) -> list[Tensor]:
        """Return one factor per unit, 0 or 1: drawn in training mode, else thresholded."""
        if not self.training:
            return [kept.to(torch.get_default_dtype()) for kept in self._keep()]
        logits = list(self.mask_logits)
        ones = [torch.ones_like(own) for own in logits]
        return sample_masked_weights(logits, ones, temperature=self.temperature, generator=self.generator)

    @contextmanager
    def _masked_representations(self) -> Iterator[None]:
        factor = self._factors.get(self.head_name or "")
        if factor is None:
            yield
            return

        def multiply(_: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            return (inputs[0] * factor.to(inputs[0].dtype), *inputs[1:])

        # Before the hook that records representations.
        handle = self.model.get_submodule(str(self.head_name)).register_forward_pre_hook(multiply, prepend=True)
        try:
            yield
        finally:
            handle.remove()


def keep_units(logits: Tensor, threshold: float) -> Bool[Tensor, " units"]:
    """Return the units whose logit is at least a threshold, or else the one with the largest logit.

    A layer without any channel would cut the network in two.
    """
    kept = logits >= threshold
    return kept if bool(kept.any()) else logits == logits.max()


def _spread(groups: Sequence[ChannelGroup], units: Sequence[Tensor], model: nn.Module) -> Mapping[str, Tensor]:
    """Return the factor of each input channel of each layer that reads a group."""
    factors: dict[str, Tensor] = {}
    for group, values in zip(groups, units, strict=True):
        for name, channels in group.read.items():
            weight = model.get_submodule(name).weight
            assert isinstance(weight, Tensor)
            own = factors.get(name)
            whole = weight.new_ones(weight.shape[1]) if own is None else own
            factors[name] = _fill(whole, channels, values.to(weight.dtype))
    return factors


def _fill(whole: Tensor, channels: ChannelMap, values: Tensor) -> Tensor:
    return whole.index_copy(0, channels.positions, values[channels.units])
