"""Where a convolutional network looks: Grad-CAM, for one class of each image."""

from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.masks import module_modes
from prusc.models.calls import call_model

_SPREAD_SIDE = 64


def find_feature_map(model: nn.Module, images: Float[Tensor, "batch channels height width"]) -> str | None:
    """Find the module that gives the network's last map of features, by calling the network once.

    That is the last one, from the last convolution on, whose output has that convolution's height and width. Where the
    only convolutions come early, as in a vision transformer, what they give says little about the decision.

    Args:
        model: Any network that takes images; its modes and hooks are as before afterwards.
        images: One image or more, normalised.

    Returns:
        The module's name; ``None`` if no convolution is in the second half of the layers that hold weights, or none
        gives a map of more than one place.
    """
    with _Calls(model) as calls, torch.no_grad(), module_modes(model, False):
        call_model(model, images)
    weighted = [call for call in calls.made if call.holds_weights]
    convolutions = [index for index, call in enumerate(weighted) if call.is_convolution]
    if not convolutions or 2 * (convolutions[-1] + 1) < len(weighted):
        return None
    last = weighted[convolutions[-1]]
    size = last.shape[2:]
    if len(size) != 2 or size.numel() < 2:
        return None
    after = calls.made[calls.made.index(last) :]
    return [call.name for call in after if len(call.shape) == 4 and call.shape[2:] == size][-1]


def grad_cam(
    model: nn.Module,
    feature_map: str,
    images: Float[Tensor, "batch channels height width"],
    classes: Int[Tensor, " batch"],
) -> Float[Tensor, "batch rows columns"]:
    """Return where in each image the network sees the class.

    Args:
        model: Its weights, gradients, modes and hooks are as before afterwards.
        feature_map: Name of the module that gives the features, see `find_feature_map`.
        images: Normalised, on the model's device.
        classes: For each image the class whose logit is explained.

    Returns:
        One value per place of the map, the largest of each image 1; all 0 where nothing speaks for the class.

    References:
        Selvaraju et al. 2017, arXiv:1610.02391.
    """
    features: list[Tensor] = []

    def remember(_module: nn.Module, _inputs: Any, output: Tensor) -> None:
        features.append(output)

    handle = model.get_submodule(feature_map).register_forward_hook(remember)
    try:
        with torch.enable_grad(), module_modes(model, False):
            # The images need a gradient so that the features have one, even if all weights are frozen.
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
    """Lay maps of the central part of images over the whole images, with 0 around.

    Args:
        maps: Values in [0, 1].
        share: Side of that part as a share of the image's side, in (0, 1].

    Returns:
        The same maps if they are of the whole image, else finer ones, 64 x 64.
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
    """One module that was called, and the shape of what it gave."""

    name: str
    shape: torch.Size
    is_convolution: bool
    holds_weights: bool


@dataclass
class _Calls:
    """The calls of a network's modules that give one tensor, in the order in which they end."""

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
