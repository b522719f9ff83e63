"""Binary masks over named parameters: the weights of a network that are kept."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from prusc.errors import ModelError, nearest_names


@dataclass(frozen=True, eq=False, repr=False)
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

    def __repr__(self) -> str:
        return f"BinaryMask({len(self.tensors)} parameters, density {self.density:.3f})"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{name}</td><td>{share:.3f}</td></tr>" for name, share in self.density_per_layer.items()
        )
        return f"<p>{self!r}</p><table><tr><th>parameter</th><th>density</th></tr>{rows}</table>"

    def save(self, path: Path | str) -> None:
        """Write the mask as safetensors, as ``mask.safetensors`` of a run folder."""
        safetensors.torch.save_file({name: mask.contiguous() for name, mask in self.tensors.items()}, path)

    @classmethod
    def load(cls, path: Path | str) -> "BinaryMask":
        """Read a mask that `save` or a run wrote.

        Raises:
            ModelError: If the file is missing, damaged, or holds anything but masks.
        """
        try:
            tensors = safetensors.torch.load_file(path)
        except (OSError, safetensors.SafetensorError) as error:
            raise ModelError(
                f"mask file {path} cannot be read ({error}); name a file that BinaryMask.save or a run has written"
            ) from error
        for name, mask in tensors.items():
            if mask.dtype != torch.bool:
                raise ModelError(
                    f"mask file {path} holds {mask.dtype} values for {name!r}, expected booleans; is it a file of "
                    "weights instead of mask.safetensors?"
                )
        return cls(tensors)

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


def apply_mask(model: nn.Module, mask: BinaryMask | Path | str) -> None:
    """Set the pruned weights of a network to zero, in place.

    Args:
        model: Network whose masked parameters are changed.
        mask: The weights to keep, or the file that holds them, such as a run folder's ``mask.safetensors``.

    Raises:
        ModelError: If the file cannot be read, or the network lacks a masked parameter or has it in another shape.
    """
    with torch.no_grad():
        for parameter, kept in _pair(model, mask):
            parameter.mul_(kept)


def keep_zeros(model: nn.Module, mask: BinaryMask | Path | str, optimizer: torch.optim.Optimizer) -> RemovableHandle:
    """Set the pruned weights to zero now and after each step of an optimiser, for training loops of your own.

    Args:
        model: The network that is trained.
        mask: What to keep, or the file that holds it.
        optimizer: Each of its steps is followed by the mask. Give it the network's parameters as usual.

    Returns:
        A handle. ``handle.remove()`` ends it; in a ``with`` statement the end of the block does.

    Raises:
        ModelError: As `apply_mask`.

    Example:
        >>> import torch, prusc
        >>> model = torch.nn.Linear(2, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> mask = prusc.BinaryMask({"weight": torch.tensor([[True, False], [True, True]])})
        >>> with prusc.keep_zeros(model, mask, optimizer):
        ...     loss = model(torch.ones(4, 2)).square().sum()
        ...     loss.backward()
        ...     optimizer.step()
        >>> model.weight[0, 1].item() == 0
        True
    """
    pairs = _pair(model, mask)

    def restore(*_: object) -> None:
        with torch.no_grad():
            for parameter, kept in pairs:
                parameter.mul_(kept)

    restore()
    return optimizer.register_step_post_hook(restore)


def _pair(model: nn.Module, mask: BinaryMask | Path | str) -> list[tuple[nn.Parameter, Tensor]]:
    """Return each masked parameter with its mask on the parameter's device."""
    tensors = (mask if isinstance(mask, BinaryMask) else BinaryMask.load(mask)).tensors
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, kept in tensors.items():
        if name not in parameters:
            raise ModelError(
                f"the mask names a parameter {name!r} that the model does not have{nearest_names(name, parameters)}"
            )
        if parameters[name].shape != kept.shape:
            raise ModelError(
                f"the mask of {name!r} has shape {tuple(kept.shape)}, the parameter {tuple(parameters[name].shape)}"
            )
    return [(parameters[name], kept.to(parameters[name].device)) for name, kept in tensors.items()]
