"""How much of a network's attention falls inside a region, such as the object or the sticker."""

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
        mean: Of shares, or of differences between shares.
        ci95: Its 95 % interval by Student's t; ``None`` of a single sample.
    """

    mean: float
    ci95: tuple[float, float] | None


@dataclass(frozen=True)
class RegionAttention:
    """How much attention one region gets, all on the same samples.

    Attributes:
        region: Its name.
        num_samples: Samples that have it and in which every network looks somewhere.
        area: Share of the image that it covers, on average: what attention spread evenly would give.
        before: Share of the original network's attention inside.
        after: That of the network that was handed back; ``None`` if there is one network only.
        change: From before to after, sample by sample.
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
    """Return how much of each map of attention falls inside a region.

    Args:
        maps: Attention, at least 0, at any resolution; it is enlarged to that of the regions (bilinear).
        inside: True inside the region.

    Returns:
        A share in [0, 1] for each image; NaN where the map is 0 everywhere.

    References:
        Wang et al. 2020, arXiv:1910.01279, section 4.3, for boxes.
    """
    smooth = F.interpolate(maps[:, None].double(), size=inside.shape[1:], mode="bilinear", align_corners=False)[:, 0]
    return ((smooth * inside).sum(dim=(1, 2)) / smooth.sum(dim=(1, 2))).float()


def summarise_region(
    region: str, areas: Sequence[float], before: Sequence[float], after: Sequence[float] | None
) -> RegionAttention | None:
    """Put the samples of a region together.

    Args:
        region: Its name.
        areas: Share of the image that it covers, for each sample that has it.
        before: Share of the original network's attention inside; NaN where it looks nowhere.
        after: That of the network that was handed back; ``None`` if there is none.

    Returns:
        Means and intervals; ``None`` if no sample is left.
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
    """Return the mean of at least one value in [lowest, 1], with its interval cut to that range."""
    num, mean = len(values), values.mean().item()
    if num < 2:
        return MeanShare(mean, None)
    half = float(t.ppf(0.975, num - 1)) * values.std().item() / num**0.5
    return MeanShare(mean, (max(lowest, mean - half), min(1.0, mean + half)))
