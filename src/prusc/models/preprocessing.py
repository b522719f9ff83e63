"""How a network's own configuration prepares images: timm's, or that of a folder of `transformers`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prusc.errors import ModelError

_PREPROCESSOR = "preprocessor_config.json"
# Pillow's numbers of interpolations, which these files hold.
_RESAMPLINGS = {0: "nearest", 1: "lanczos", 2: "bilinear", 3: "bicubic"}


@dataclass(frozen=True)
class Preprocessing:
    """How images are prepared for a network.

    Attributes:
        mean: Mean per channel, of intensities in [0, 1].
        std: Standard deviation per channel.
        image_size: Height and width in pixels; ``None`` if unknown.
        interpolation: ``nearest``, ``bilinear``, ``bicubic`` or ``lanczos``.
        crop_pct: Share of the shorter side that the central square shows.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    image_size: int | None
    interpolation: str
    crop_pct: float


def read_preprocessor(folder: Path) -> Preprocessing | None:
    """Read ``preprocessor_config.json`` of a folder of `transformers`; ``None`` without one, as for text.

    Raises:
        ModelError: If it cannot be read.
    """
    file = folder / _PREPROCESSOR
    if not file.is_file():
        return None
    try:
        given: Mapping[str, Any] = json.loads(file.read_text("utf-8"))
        does_normalise, does_scale = given.get("do_normalize", True), given.get("do_rescale", True)
        scale = 255 * given.get("rescale_factor", 1 / 255) if does_scale else 255.0
        mean, std = (tuple(map(float, given.get(name, ()))) for name in ("image_mean", "image_std"))
        if not does_normalise or not mean:
            mean, std = (0.0,) * 3, (1.0,) * 3
        side = _side(given.get("size"))
        crop = _side(given.get("crop_size")) if given.get("do_center_crop") else None
        crop_pct = crop / side if crop and side else float(given.get("crop_pct") or 1.0)
        return Preprocessing(
            mean=tuple(value / scale for value in mean),
            std=tuple(value / scale for value in std),
            image_size=crop or side,
            interpolation=_RESAMPLINGS[int(given.get("resample", 2))],
            crop_pct=min(crop_pct, 1.0),
        )
    except (AttributeError, KeyError, OSError, TypeError, ValueError, ZeroDivisionError) as error:
        raise ModelError(
            f"{file} cannot be understood ({type(error).__name__}: {error}); expected what transformers writes: "
            "correct it, or give data_options.mean, .std, .image_size, .interpolation and .crop_pct"
        ) from error


def read_timm_preprocessing(own: Mapping[str, Any], file: Path) -> Preprocessing | None:
    """Read the ``pretrained_cfg`` of a folder of timm; ``None`` if it does not say how images are prepared.

    Raises:
        ModelError: If it cannot be understood.
    """
    if not own.get("mean") or not own.get("std"):
        return None
    try:
        interpolation = str(own.get("interpolation"))
        return Preprocessing(
            mean=tuple(map(float, own["mean"])),
            std=tuple(map(float, own["std"])),
            image_size=int(min(own["input_size"][1:])) if own.get("input_size") else None,
            interpolation=interpolation if interpolation in _RESAMPLINGS.values() else "bilinear",
            crop_pct=min(float(own.get("crop_pct") or 1.0), 1.0),
        )
    except (TypeError, ValueError) as error:
        raise ModelError(
            f"{file}: pretrained_cfg cannot be understood ({type(error).__name__}: {error}); correct it, or give "
            "data_options.mean, .std, .image_size, .interpolation and .crop_pct"
        ) from error


def _side(size: Any) -> int | None:
    """Return the side of a square, from a number or a mapping."""
    if isinstance(size, Mapping):
        size = size.get("shortest_edge") or size.get("height")
    return None if size is None else int(size)
