"""Binary masks over named parameters: the weights of a network that are kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool
from torch import Tensor, nn

from prusc.errors import ModelError


@dataclass(frozen=True, eq=False)
class BinaryMask:
    """Weights that are kept: ``True`` keeps a weight, ``False`` prunes it.

    Attributes:
        tensors: Mask of each masked parameter, by the parameter's name and of its shape.
    """

    tensors: Mapping[str, Bool[Tensor, "..."]]

    @property
    def density(self) -> float:
        """Share of the masked weights that are kept, in [0, 1]."""
        num_weights = sum(mask.numel() for mask in self.tensors.values())
        return sum(int(mask.sum()) for mask in self.tensors.values()) / max(num_weights, 1)

    @property
    def density_per_layer(self) -> dict[str, float]:
        """Share of the weights that are kept, for each parameter."""
        return {name: mask.float().mean().item() for name, mask in self.tensors.items()}

    def union(self, other: "BinaryMask") -> "BinaryMask":
        """Keep the weights that either mask keeps."""
        return self._combine(other, torch.logical_or)

    def intersection(self, other: "BinaryMask") -> "BinaryMask":
        """Keep the weights that both masks keep."""
        return self._combine(other, torch.logical_and)

    def inverse(self) -> "BinaryMask":
        """Keep the weights that this mask prunes."""
        return BinaryMask({name: ~mask for name, mask in self.tensors.items()})

    def iou_per_layer(self, other: "BinaryMask") -> dict[str, float]:
        """Return the intersection over union of the kept weights of each parameter; 1 if both masks keep none."""
        both, either = self.intersection(other).tensors, self.union(other).tensors
        return {name: (int(both[name].sum()) / n if (n := int(either[name].sum())) else 1.0) for name in both}

    def _combine(self, other: "BinaryMask", operation: Callable[[Tensor, Tensor], Tensor]) -> "BinaryMask":
        if self.tensors.keys() != other.tensors.keys():
            differing = sorted(self.tensors.keys() ^ other.tensors.keys())
            raise ModelError(f"the masks cover different parameters; in one only: {', '.join(differing[:5])}")
        return BinaryMask({name: operation(mask, other.tensors[name]) for name, mask in self.tensors.items()})


def apply_mask(model: nn.Module, mask: BinaryMask) -> None:
    """Set the pruned weights of a model to zero, in place.

    Args:
        model: Model whose masked parameters are changed.
        mask: The weights to keep.

    Raises:
        ModelError: If the model lacks a masked parameter or has it in another shape.
    """
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, kept in mask.tensors.items():
        if name not in parameters:
            raise ModelError(f"the mask names a parameter {name!r} that the model does not have")
        if parameters[name].shape != kept.shape:
            raise ModelError(
                f"the mask of {name!r} has shape {tuple(kept.shape)}, the parameter {tuple(parameters[name].shape)}"
            )
    with torch.no_grad():
        for name, kept in mask.tensors.items():
            parameters[name].mul_(kept.to(parameters[name].device))
