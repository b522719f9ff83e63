"""Channels that can only be removed together, and the mask that removes some of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor, nn

from prusc.errors import ModelError
from prusc.masks.binary_mask import BinaryMask


@dataclass(frozen=True, eq=False)
class ChannelMap:
    """Where the units of a group are along one dimension of a layer.

    Attributes:
        positions: Positions along the dimension.
        units: Unit of each position.
    """

    positions: Int[Tensor, " places"]
    units: Int[Tensor, " places"]

    def removed(self, kept: Bool[Tensor, " units"]) -> Int[Tensor, " removed"]:
        """Return the positions of the units that are not kept."""
        return self.positions[~kept.to(self.units.device)[self.units]]

    def to(self, device: torch.device) -> "ChannelMap":
        """Return the map on a device."""
        return ChannelMap(self.positions.to(device), self.units.to(device))


@dataclass(frozen=True, eq=False)
class ChannelGroup:
    """Output channels that are one unit in every layer: layers whose outputs are added, and what normalises them.

    A unit that no layer reads can be removed, whatever its value is.

    Attributes:
        name: Module name of a layer that writes the channels.
        size: Number of units.
        written: For each layer that writes or changes the channels one by one, its output channels.
        read: For each layer that reads the channels, its input channels.
    """

    name: str
    size: int
    written: Mapping[str, ChannelMap]
    read: Mapping[str, ChannelMap]

    def to(self, device: torch.device) -> "ChannelGroup":
        """Return the group with its maps on a device."""
        written, read = ({name: one.to(device) for name, one in maps.items()} for maps in (self.written, self.read))
        return ChannelGroup(self.name, self.size, written, read)


def channel_mask(model: nn.Module, groups: Sequence[ChannelGroup], kept: Sequence[Bool[Tensor, "..."]]) -> BinaryMask:
    """Return the mask that removes units: the weights that write them, and those that read them.

    Args:
        model: The network.
        groups: Groups of its channels.
        kept: For each group, which units are kept.

    Returns:
        A mask of the weights of all layers of the groups.

    Raises:
        ModelError: If the network lacks a layer of a group.
    """
    modules = dict(model.named_modules())
    tensors: dict[str, Tensor] = {}
    for group, chosen in zip(groups, kept, strict=True):
        for dim, places in ((0, group.written), (1, group.read)):
            for name, channels in places.items():
                if name not in modules:
                    raise ModelError(f"{type(model).__name__} has no layer {name!r}, which a group of channels names")
                weight = getattr(modules[name], "weight", None)
                # Norms have one weight per channel; as everywhere, they are not masked.
                if not isinstance(weight, Tensor) or weight.ndim < 2:
                    continue
                mask = tensors.setdefault(f"{name}.weight", torch.ones_like(weight, dtype=torch.bool))
                mask.index_fill_(dim, channels.removed(chosen).to(weight.device), False)
    return BinaryMask(tensors)
