"""Where the networks of an exhibit look: a map of attention for each of them and each sample."""

from collections.abc import Sequence

import torch
from torch import Tensor

from prusc.data.batches import take_inputs
from prusc.models.calls import to_device
from prusc.runs.samples.exhibit import Exhibit
from prusc.runs.samples.grad_cam import grad_cam, spread_over_image

_ATTENTION_BATCH = 64


def load_images(exhibit: Exhibit, indices: Sequence[int]) -> tuple[Tensor, float]:
    """Return what the network is shown of some pictures, and the share of their side that it sees."""
    inputs = take_inputs(exhibit.data.val.inputs, torch.tensor(indices))
    assert isinstance(inputs, Tensor), "only pictures are looked at"
    runtime = exhibit.runtime
    images: Tensor = to_device(exhibit.transform(inputs), runtime.device, channels_last=runtime.config.channels_last)
    return images, images.shape[-1] / inputs.shape[-1]


def compute_attention(exhibit: Exhibit, feature_map: str, indices: Sequence[int]) -> dict[str, Tensor]:
    """Return the maps of attention of each network, [samples, rows, columns]."""
    found: dict[str, list[Tensor]] = {name: [] for name in exhibit.networks}
    for start in range(0, len(indices), _ATTENTION_BATCH):
        part = list(indices[start : start + _ATTENTION_BATCH])
        images, share = load_images(exhibit, part)
        for name, network in exhibit.networks.items():
            classes = exhibit.val_predictions(name)[part]
            maps = grad_cam(network, feature_map, images, classes).cpu()
            found[name].append(spread_over_image(maps, share))
    return {name: torch.cat(maps) for name, maps in found.items()}
