"""Grad-CAM: where a convolutional network finds evidence for a class of an image."""

from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.masks import module_modes, no_checkpointing
from prusc.models.calls import call_model

_SPREAD_SIDE = 64


def find_feature_map(model: nn.Module, images: Float[Tensor, "batch channels height width"]) -> str | None:
    """Find the module that outputs the last feature map of a network, by one call of the network.

    It is the last module, from the last convolution with more than one position on, whose output has the height and
    width of that convolution.
    Early convolutions, such as the patch embedding of a vision transformer, say little about the prediction.

    Args:
        model: Any network that takes images; its modes and hooks are restored.
        images: One or more normalised images.

    Returns:
        Name of the module. ``None`` if there is no such convolution, or more layers with weights follow it than come
        before, not counting those after pooling.
    """
    with _Calls(model) as calls, torch.no_grad(), module_modes(model, False):
        call_model(model, images)
    weighted = [call for call in calls.made if call.holds_weights]
    # After pooling, as in squeeze-and-excitation or a convolutional head, there is one position, which shows no place.
    convolutions = [index for index, call in enumerate(weighted) if call.is_convolution and call.num_positions > 1]
    if not convolutions:
        return None
    last = weighted[convolutions[-1]]
    # Layers on tokens, as in a transformer, mix the places; layers on vectors come after pooling.
    later = [call for call in weighted[convolutions[-1] + 1 :] if len(call.shape) > 2 and call.num_positions != 1]
    if len(later) > convolutions[-1] + 1:
        return None
    size = last.shape[2:]
    after = calls.made[calls.made.index(last) :]
    return [call.name for call in after if len(call.shape) == 4 and call.shape[2:] == size][-1]


def grad_cam(
    model: nn.Module,
    feature_map: str,
    images: Float[Tensor, "batch channels height width"],
    classes: Int[Tensor, " batch"],
) -> Float[Tensor, "batch rows columns"]:
    """Return a map of the evidence for a class, for each image.

    Args:
        model: Any network; its weights, gradients, modes and hooks are restored.
        feature_map: Name of the module that outputs the feature map, see `find_feature_map`.
        images: Normalised images on the device of the model.
        classes: The class whose logit is explained, for each image.

    Returns:
        Values in [0, 1] with maximum 1 for each image; all 0 if no position supports the class.

    References:
        Selvaraju et al. 2017, arXiv:1610.02391.
    """
    features: list[Tensor] = []

    def remember(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        features.append(output)

    handle = model.get_submodule(feature_map).register_forward_hook(remember)
    try:
        with torch.enable_grad(), module_modes(model, False), no_checkpointing():
            # With frozen weights, the features have a gradient only if the images require one.
            logits = call_model(model, images.detach().clone().requires_grad_())
            chosen = logits.gather(1, classes[:, None].to(logits.device)).sum()
            (gradient,) = torch.autograd.grad(chosen, features[-1])
    finally:
        handle.remove()
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    maps = (weights * features[-1].detach()).sum(dim=1).clamp(min=0).float()
    largest = maps.amax(dim=(1, 2), keepdim=True)
    return maps / torch.where(largest > 0, largest, torch.ones_like(largest))


def spread_over_image(
    maps: Float[Tensor, "batch rows columns"], share: float
) -> Float[Tensor, "batch out_rows out_columns"]:
    """Pad maps of a central crop to maps of the whole image, with 0 outside the crop.

    Args:
        maps: Values in [0, 1].
        share: Side of the crop as a share of the side of the image, in (0, 1].

    Returns:
        The same maps if the crop is the whole image; otherwise interpolated maps of 64 x 64.
    """
    if share >= 1:
        return maps
    inner = max(1, round(_SPREAD_SIDE * share))
    before = (_SPREAD_SIDE - inner) // 2
    after = _SPREAD_SIDE - inner - before
    finer = F.interpolate(maps[:, None], size=(inner, inner), mode="bilinear", align_corners=False)[:, 0]
    return F.pad(finer, (before, after, before, after))


@dataclass(frozen=True, eq=False)
class _Call:
    """One call of a module, and the shape of its output."""

    name: str
    shape: torch.Size
    is_convolution: bool
    holds_weights: bool

    @property
    def num_positions(self) -> int:
        """Number of places of a feature map; 0 if the output is none."""
        return self.shape[2] * self.shape[3] if len(self.shape) == 4 else 0


@dataclass
class _Calls:
    """Records the calls of modules that output one tensor, in the order in which they end."""

    model: nn.Module
    made: list[_Call] = field(default_factory=list)

    def __enter__(self) -> "_Calls":
        self._handles = [
            module.register_forward_hook(partial(self._remember, name))
            for name, module in self.model.named_modules()
            if name
        ]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for handle in self._handles:
            handle.remove()

    def _remember(self, name: str, module: nn.Module, _inputs: Any, output: Any) -> None:
        if isinstance(output, Tensor):
            holds_weights = any(True for _ in module.parameters(recurse=False))
            self.made.append(_Call(name, output.shape, isinstance(module, nn.Conv2d), holds_weights))
