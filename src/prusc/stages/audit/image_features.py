"""What can be measured of a picture and said in words: light, colour by region, contrast, sharpness and border."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

_PLACES = ("top left", "top", "top right", "left", "centre", "right", "bottom left", "bottom", "bottom right")
_CELLS = 3
# Means of colours need no finer pictures, and the conversion to CIELAB is slow.
_COLOUR_SIDE = 48
# The border is the outer sixteenth of the picture, on each side.
_BORDER_SHARE = 1 / 16
# The variances of a picture of one colour are 0, so their ratio needs a floor.
_SMALLEST_VARIANCE = 1e-8


@dataclass(frozen=True)
class Feature:
    """A number that describes a sample, and the words for a difference in it.

    Attributes:
        name: Its key, such as ``red/left``.
        place: Where in the picture, such as ``left``; or the name of a column.
        more: Word for a higher value, such as ``redder``.
        less: Word for a lower value, such as ``greener``.
        unit: What a difference of 1 is, for the reader.
    """

    name: str
    place: str
    more: str
    less: str
    unit: str

    def describe(self, difference: float) -> str:
        """Return the difference in words."""
        return f"{self.place}: {self.more if difference >= 0 else self.less}"


_COLOURS = (
    ("light", "lighter", "darker", "of the range of lightness"),
    ("red", "redder", "greener", "of 100 units of a* (CIELAB)"),
    ("yellow", "yellower", "bluer", "of 100 units of b* (CIELAB)"),
)
_WHOLE, _BORDER = "whole picture", "border"

IMAGE_FEATURES: tuple[Feature, ...] = (
    *(
        Feature(f"{name}/{place}", place, more, less, unit)
        for place in (_WHOLE, *_PLACES, _BORDER)
        for name, more, less, unit in _COLOURS
    ),
    Feature("contrast", _WHOLE, "more contrast", "less contrast", "of the range of lightness"),
    Feature("saturation", _WHOLE, "more colourful", "grayer", "of 100 units of chroma (CIELAB)"),
    Feature("sharpness", _WHOLE, "sharper", "blurrier", "doublings of the variance of the Laplacian at equal contrast"),
    Feature("contrast/border", _BORDER, "busier", "plainer", "of the range of lightness"),
)
"""The features of `measure_images`, in the order of its columns."""


def measure_images(images: UInt8[Tensor, "batch channels height width"]) -> Float[Tensor, "batch features"]:
    """Measure pictures.

    Lightness and colours are means over the whole picture, over each cell of a 3 x 3 grid and over the border, in
    CIELAB (D65) divided by 100. Contrast is the standard deviation of the lightness, saturation the mean chroma.
    Sharpness is the binary logarithm of the variance of the Laplacian of the gray picture, in its own resolution, over
    the variance of that picture, so that contrast and light do not change it.

    Args:
        images: Gray or RGB pictures.

    Returns:
        One column per item of `IMAGE_FEATURES`.

    References:
        CIE 15:2004 (CIELAB); Pech-Pacheco et al. 2000 (variance of the Laplacian).
    """
    rgb = images.expand(-1, 3, -1, -1).float() / 255
    small = rgb
    if max(rgb.shape[2:]) > _COLOUR_SIDE:
        small = F.adaptive_avg_pool2d(rgb, (min(rgb.shape[2], _COLOUR_SIDE), min(rgb.shape[3], _COLOUR_SIDE)))
    lab = to_lab(small)
    border = border_of(small.shape[2], small.shape[3])
    cells = F.adaptive_avg_pool2d(lab, _CELLS).flatten(2)
    places = torch.cat([lab.mean(dim=(2, 3))[..., None], cells, lab[..., border].mean(dim=2)[..., None]], dim=2)
    light = lab[:, 0]
    rest = [
        light.flatten(1).std(dim=1, correction=0),
        lab[:, 1:].square().sum(dim=1).sqrt().mean(dim=(1, 2)),
        _sharpness(rgb),
        light[:, border].std(dim=1, correction=0),
    ]
    # Places vary slowest, as in IMAGE_FEATURES.
    return torch.cat([places.permute(0, 2, 1).flatten(1), torch.stack(rest, dim=1)], dim=1)


def to_lab(rgb: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 3 height width"]:
    """Convert sRGB intensities in [0, 1] to CIELAB (D65) divided by 100."""
    linear = torch.where(rgb <= 0.04045, rgb / 12.92, ((rgb.clamp(min=0) + 0.055) / 1.055) ** 2.4)
    matrix = rgb.new_tensor(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    # Row sums are the white of sRGB, so that gray has no colour.
    xyz = torch.einsum("ij,bjhw->bihw", matrix / matrix.sum(dim=1, keepdim=True), linear)
    bent = torch.where(xyz > (6 / 29) ** 3, xyz.clamp(min=1e-9) ** (1 / 3), xyz / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = bent.unbind(1)
    return torch.stack([1.16 * y - 0.16, 5 * (x - y), 2 * (y - z)], dim=1)


def border_of(height: int, width: int, share: float = _BORDER_SHARE) -> Tensor:
    """Return which pixels [height, width] lie in the border, which is at least one pixel wide.

    Some pixel lies inside, unless the picture has fewer than three rows or columns.
    """
    inside = torch.zeros(height, width, dtype=torch.bool)
    rows, columns = (max(1, min(round(side * share), (side - 1) // 2)) for side in (height, width))
    inside[rows : height - rows, columns : width - columns] = True
    return ~inside


def _sharpness(rgb: Tensor) -> Tensor:
    gray = torch.einsum("c,bchw->bhw", rgb.new_tensor([0.299, 0.587, 0.114]), rgb)
    if min(gray.shape[1:]) < 3:
        return gray.new_zeros(len(gray))
    inner = gray[:, 1:-1, 1:-1]
    around = gray[:, :-2, 1:-1] + gray[:, 2:, 1:-1] + gray[:, 1:-1, :-2] + gray[:, 1:-1, 2:]
    edges, all_of_it = (
        (part.flatten(1).var(dim=1, correction=0) + _SMALLEST_VARIANCE) for part in (around - 4 * inner, gray)
    )
    return (edges / all_of_it).log2()
