"""Grad-CAM with differences instead of gradients, place by place."""

import copy
from typing import Any

import torch
from torch import Tensor, nn

STEP = 1e-4


def grad_cam_slowly(model: nn.Module, feature_map: str, images: Tensor, classes: Tensor) -> Tensor:
    """Move each feature of each place a little and see what the logit does; images one by one."""
    model = copy.deepcopy(model).double()
    maps = []
    for image, label in zip(images.double(), classes.tolist(), strict=True):
        seen: list[Tensor] = []
        shift: list[Tensor] = []

        def change(_module: nn.Module, _inputs: Any, output: Tensor, seen=seen, shift=shift) -> Tensor:
            seen.append(output.detach())
            return output + shift[-1] if shift else output

        handle = model.get_submodule(feature_map).register_forward_hook(change)
        with torch.no_grad():
            before = model(image[None])[0, label]
            features = seen[0][0]
            total = torch.zeros(features.shape[1:], dtype=torch.float64)
            for channel in range(features.shape[0]):
                slopes = []
                for row in range(features.shape[1]):
                    for column in range(features.shape[2]):
                        moved = torch.zeros_like(features)[None]
                        moved[0, channel, row, column] = STEP
                        shift[:] = [moved]
                        slopes.append(float(model(image[None])[0, label] - before) / STEP)
                total += sum(slopes) / len(slopes) * features[channel]
        handle.remove()
        positive = total.clamp(min=0)
        maps.append(positive / positive.max() if positive.max() > 0 else positive)
    return torch.stack(maps).float()
