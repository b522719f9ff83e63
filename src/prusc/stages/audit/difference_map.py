"""Where in the picture the samples of a value differ from the rest of their classes."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from prusc.stages.audit.image_features import to_lab
from prusc.stages.audit.naming import difference_p_values, measure_differences

# Finer maps show noise, and a sticker of a twelfth of the picture is still seen.
_SIDE = 24


def shrink_pictures(images: UInt8[Tensor, "batch channels height width"]) -> Float[Tensor, "batch 3 rows columns"]:
    """Return small, smooth pictures in CIELAB, which `map_differences` compares place by place.

    Args:
        images: Gray or RGB pictures.

    Returns:
        At most 24 rows and columns, each place averaged with its neighbours.
    """
    rgb = images.expand(-1, 3, -1, -1).float() / 255
    small = F.adaptive_avg_pool2d(rgb, (min(rgb.shape[2], _SIDE), min(rgb.shape[3], _SIDE)))
    return F.avg_pool2d(to_lab(small), 3, stride=1, padding=1, count_include_pad=False)


def map_differences(
    pictures: Float[Tensor, "samples channels rows columns"],
    labels: Int[Tensor, " samples"],
    values: Int[Tensor, " samples"],
    asked: Sequence[int],
    *,
    num_permutations: int = 199,
    significance: float = 0.05,
    generator: torch.Generator,
) -> Float[Tensor, "asked rows columns"]:
    """Return how much the pictures of each asked value differ from the rest of their classes, place by place.

    Args:
        pictures: Small, smooth pictures of all samples, such as those of `shrink_pictures`.
        labels: Class of each sample.
        values: Value of the pseudo-attribute of each sample.
        asked: The values to draw a map for.
        num_permutations: Number of shuffles of the test.
        significance: Largest p-value, corrected for all places, channels and values, of a place that is not 0.
        generator: Source of the shuffles.

    Returns:
        The standardised mean difference within classes (root of the sum of squares over the channels); 0 where the
        difference may be chance.
    """
    flat = pictures.flatten(1)
    p_values = difference_p_values(flat, labels, values, asked, num_permutations, generator)
    maps = torch.zeros(len(asked), *pictures.shape[1:], dtype=torch.float64)
    for row, value in enumerate(asked):
        effect = measure_differences(flat, labels, values == value).effect
        maps[row] = torch.where(p_values[row] <= significance, effect, 0.0).view(pictures.shape[1:])
    return maps.square().sum(dim=1).sqrt().float()
