"""Maps of attention: one per network of an exhibit and sample."""

from collections.abc import Sequence

import torch
from torch import Tensor

from prusc.data.batches import take_inputs
from prusc.runs.samples.exhibit import Exhibit
from prusc.runs.samples.grad_cam import grad_cam, spread_over_image

_ATTENTION_BATCH = 64


def load_images(exhibit: Exhibit, indices: Sequence[int]) -> tuple[Tensor, float]:
    """Return the transformed images of some samples, and the share of the image side that they show."""
    stored = take_inputs(exhibit.data.val.inputs, torch.tensor(indices[:1]))
    assert isinstance(stored, Tensor), "callers check that the inputs are images"
    images: Tensor = exhibit.feed.take(torch.tensor(indices))
    return images, images.shape[-1] / stored.shape[-1]


def compute_attention(exhibit: Exhibit, feature_map: str, indices: Sequence[int]) -> dict[str, Tensor]:
    """Return the maps of attention by network, each [samples, rows, columns], for the predicted class."""
    found: dict[str, list[Tensor]] = {name: [] for name in exhibit.networks}
    for start in range(0, len(indices), _ATTENTION_BATCH):
        part = list(indices[start : start + _ATTENTION_BATCH])
        images, share = load_images(exhibit, part)
        for name, network in exhibit.networks.items():
            classes = exhibit.val_predictions(name)[part]
            maps = grad_cam(network, feature_map, images, classes).cpu()
            found[name].append(spread_over_image(maps, share))
    return {name: torch.cat(maps) for name, maps in found.items()}
