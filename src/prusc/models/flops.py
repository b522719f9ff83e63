"""Floating-point operations of a network, and the share that remains under a mask of channels."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prusc.masks import BinaryMask, module_modes
from prusc.models.calls import call_model


@dataclass(frozen=True)
class NetworkFlops:
    """Floating-point operations of one forward pass; a multiplication and its addition are two.

    Attributes:
        total: Of the whole network.
        layers: Of each layer with a weight, by module name.
    """

    total: int
    layers: Mapping[str, int]

    def share(self, mask: BinaryMask) -> float:
        """Return the share of the operations that a network without the pruned channels still needs.

        A layer needs operations in proportion to the weights that are left, if whole channels are pruned. What is not
        done with a weight, such as the products inside attention, counts in full.

        Args:
            mask: A mask of whole channels, as `prusc.masks.channel_mask` returns it.
        """
        spared = sum(
            self.layers.get(name.removesuffix(".weight"), 0) * (1 - density)
            for name, density in mask.density_per_layer.items()
        )
        return (self.total - spared) / max(self.total, 1)


def count_flops(model: nn.Module, sample_inputs: Any) -> NetworkFlops:
    """Count the floating-point operations of a network on some inputs.

    Args:
        model: Any network; it does not change.
        sample_inputs: Inputs in the form that the network takes; all of them count.

    Returns:
        The operations of convolutions and matrix products. PyTorch does not count others.
    """
    names = {id(module): name for name, module in model.named_modules()}
    counter = FlopCounterMode(display=False)
    layers: dict[str, int] = {}
    counts: list[tuple[str, int]] = []

    def before(module: nn.Module, _: Any) -> None:
        counts.append((names[id(module)], counter.get_total_flops()))

    def after(_module: nn.Module, _inputs: Any, _output: Any) -> None:
        name, start = counts.pop()
        layers[name] = layers.get(name, 0) + counter.get_total_flops() - start

    weighty = [module for module in model.modules() if isinstance(getattr(module, "weight", None), torch.Tensor)]
    handles = [module.register_forward_pre_hook(before) for module in weighty]
    handles += [module.register_forward_hook(after) for module in weighty]
    try:
        with torch.no_grad(), module_modes(model, False), counter:
            call_model(model, sample_inputs)
    finally:
        for handle in handles:
            handle.remove()
    return NetworkFlops(counter.get_total_flops(), layers)
