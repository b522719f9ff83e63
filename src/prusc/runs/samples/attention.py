"""Share of a network's attention inside a region of the images, such as an object or a sticker."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from scipy.stats import t
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class MeanShare:
    """A mean over samples.

    Attributes:
        mean: Mean of shares, or of differences between shares.
        ci95: Its 95 % interval by Student's t; ``None`` for a single sample.
    """

    mean: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class RegionAttention:
    """Share of the attention inside one region; both networks are measured on the same samples.

    Attributes:
        region: Name of the region.
        num_samples: Number of samples that contain it and for which no map of attention is 0 everywhere.
        area: Mean share of the image that the region covers; evenly spread attention would have this share.
        before: Share of the attention of the ERM network inside the region.
        after: Share of the attention of the chosen network; ``None`` if there is only one network.
        change: Difference between the two shares, paired by sample.
    """

    region: str
    num_samples: int
    area: float
    before: MeanShare
    after: MeanShare | None
    change: MeanShare | None


def share_inside(
    maps: Float[Tensor, "batch rows columns"], inside: Bool[Tensor, "batch height width"]
) -> Float[Tensor, " batch"]:
    """Return the share of each map of attention that falls inside a region.

    Args:
        maps: Attention, at least 0, at any resolution; bilinear interpolation brings it to that of the regions.
        inside: True inside the region.

    Returns:
        A share in [0, 1] for each image; NaN where the map is 0 everywhere.

    References:
        Wang et al. 2020, arXiv:1910.01279, section 4.3, which uses boxes as regions.
    """
    smooth = F.interpolate(maps[:, None].double(), size=inside.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    return ((smooth * inside).sum(dim=(1, 2)) / smooth.sum(dim=(1, 2))).float()


def summarise_region(
    region: str, areas: Sequence[float], before: Sequence[float], after: Sequence[float] | None
) -> RegionAttention | None:
    """Summarise one region over samples.

    Args:
        region: Name of the region.
        areas: Share of the image that the region covers, for each sample that contains it.
        before: Share of the attention of the ERM network inside, for each sample; NaN if its map is 0 everywhere.
        after: The same for the chosen network; ``None`` if there is only one network.

    Returns:
        Means and intervals over the samples without NaN; ``None`` if no sample is left.
    """
    pairs = zip(areas, before, before if after is None else after, strict=True)
    rows = [row for row in pairs if not any(map(math.isnan, row))]
    if not rows:
        return None
    area, old, new = torch.tensor(rows, dtype=torch.float64).unbind(1)
    return RegionAttention(
        region=region,
        num_samples=len(rows),
        area=area.mean().item(),
        before=mean_with_interval(old, lowest=0.0),
        after=None if after is None else mean_with_interval(new, lowest=0.0),
        change=None if after is None else mean_with_interval(new - old, lowest=-1.0),
    )


def mean_with_interval(values: Float[Tensor, " samples"], *, lowest: float) -> MeanShare:
    """Return the mean of at least one value in [lowest, 1], with its interval clipped to that range."""
    num, mean = len(values), values.mean().item()
    if num < 2:
        return MeanShare(mean, None)
    half = float(t.ppf(0.975, num - 1)) * values.std().item() / num**0.5
    return MeanShare(mean, (max(lowest, mean - half), min(1.0, mean + half)))
