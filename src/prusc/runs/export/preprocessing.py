"""What has to be done to an image before an exported network sees it."""

from typing import Any

import torch
from torch import Tensor

from prusc.config import RunConfig
from prusc.data import Data


def describe_preprocessing(config: RunConfig, data: Data, stored: Any, sample: Tensor) -> dict[str, Any]:
    """Return the content of ``preprocessing.json``.

    Args:
        config: Settings of the run.
        data: Data of the run.
        stored: Some inputs as they are stored.
        sample: The same inputs as the network takes them.

    Returns:
        Plain values. ``resize`` is the side of the square that an image becomes: its shorter side is resized, then the
        longer one is cropped around the centre. It is ``None`` if images are no squares and nothing resizes them.
        ``crop`` is the side of the central square that the network sees; ``None`` if it sees the whole image.
    """
    shape = ["batch", *sample.shape[1:]]
    found: dict[str, Any] = {"classes": list(data.class_names), "input": {"shape": shape, "dtype": "float32"}}
    is_image = isinstance(stored, Tensor) and stored.dtype == torch.uint8 and stored.ndim == 4
    if not is_image or stored.shape[1] not in (1, 3):
        return {**found, "kind": "tensor"}
    height, width = stored.shape[2:]
    return {
        **found,
        "kind": "image",
        "colour": "RGB" if sample.shape[1] == 3 else "grey",
        "resize": height if height == width else None,
        "interpolation": "bilinear",
        "antialias": True,
        "crop": int(min(sample.shape[2:])) if config.data_options.crop_size is not None else None,
        "scale": 1 / 255,
        "mean": list(data.mean),
        "std": list(data.std),
    }
