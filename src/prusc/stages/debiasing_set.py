"""Stage 4: draw samples so that the cluster says little about the class."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from prusc.config import DebiasingSetConfig
from prusc.errors import ConfigError, DataError


@dataclass(frozen=True, eq=False)
class DebiasingSet:
    """Which samples are drawn, and how often.

    Attributes:
        labels: Class of each sample.
        cluster_ids: Cluster of each sample.
        weights: Probability of each sample in one draw, 0 for one that is left out; they sum to 1, and each class that
            has a sample to draw gets the same share.
        num_clusters: Number of clusters.
        final_ids: Cluster of each sample among those of the final network, where these cut the cells.
    """

    labels: Int[Tensor, " samples"]
    cluster_ids: Int[Tensor, " samples"]
    weights: Float[Tensor, " samples"]
    num_clusters: int
    final_ids: Int[Tensor, " samples"] | None = None

    def draw(self, num_samples: int, generator: torch.Generator) -> Int[Tensor, " drawn"]:
        """Draw sample indices with replacement."""
        return draw_indices(self.weights, num_samples, generator)


def draw_indices(
    weights: Float[Tensor, " samples"], num_samples: int, generator: torch.Generator
) -> Int[Tensor, " drawn"]:
    """Draw sample indices with replacement.

    Args:
        weights: Of each sample, at least 0; their scale does not matter.
        num_samples: How many to draw.
        generator: Decides which.
    """
    # multinomial is limited to 2**24 categories and float32 sums; the inverse of the distribution has no limit.
    cumulative = weights.double().cumsum(0)
    uniform = torch.rand(num_samples, generator=generator, dtype=torch.float64) * cumulative[-1]
    return torch.searchsorted(cumulative, uniform, right=True).clamp_(max=len(weights) - 1)


def cell_ids(
    labels: Int[Tensor, " samples"], cluster_ids: Int[Tensor, " samples"], num_clusters: int
) -> Int[Tensor, " samples"]:
    """Number the cells (class, cluster) row by row."""
    return labels * num_clusters + cluster_ids


def build_debiasing_set(
    labels: Int[Tensor, " samples"],
    cluster_ids: Int[Tensor, " samples"],
    *,
    num_classes: int,
    num_clusters: int,
    config: DebiasingSetConfig,
    margins: Float[Tensor, " samples"] | None = None,
    final_ids: Int[Tensor, " samples"] | None = None,
) -> DebiasingSet:
    """Give each class the same share, and each cell within its class a share by its size to ``cell_exponent``.

    Samples at the border between two clusters are the ones whose cluster says least of their group: a cell that is made
    of the others is purer.

    Args:
        labels: Class of each sample.
        cluster_ids: Cluster of each sample.
        num_classes: Number of classes.
        num_clusters: Number of clusters.
        config: Exponent, smallest cell, the share of the samples that are left out for lying at a border, and how many
            clusters of the final network cut the cells.
        margins: How far each sample is from the border, see `Clustering.measure_margins`; needed for that share.
        final_ids: Cluster of each sample among those of the final network, which cut the cells; needed for that number.

    Returns:
        Weights for drawing.

    Raises:
        ConfigError: If a share is to be left out and there are no margins, or cells are to be cut and nothing says how.
        DataError: If every cell is below the smallest size, or all samples of a class lie at the border.
    """
    crossed_ids, num_crossed = cluster_ids, num_clusters
    if config.final_clusters:
        if final_ids is None:
            raise ConfigError(
                f"debiasing_set.final_clusters {config.final_clusters} needs the cluster of each sample in the final "
                "network; give final_ids, or set it to 0"
            )
        crossed_ids = cluster_ids * config.final_clusters + final_ids
        num_crossed = num_clusters * config.final_clusters
    cells = cell_ids(labels, crossed_ids, num_crossed)
    core = _find_core(labels, margins, config)
    sizes = torch.bincount(cells[core], minlength=num_classes * num_crossed).double()
    used = sizes >= config.min_cell_size
    if not bool(used.any()):
        raise DataError(
            f"no cell (class x cluster) has {config.min_cell_size} samples, the largest has {int(sizes.max())}; lower "
            "debiasing_set.min_cell_size"
        )
    shares = torch.where(used, sizes.clamp(min=1) ** config.cell_exponent, torch.zeros_like(sizes))
    shares = shares.view(num_classes, num_crossed)
    per_class = shares.sum(dim=1, keepdim=True)
    shares = (shares / per_class.clamp(min=1e-300) / (per_class > 0).sum()).flatten()
    weights = (shares / sizes.clamp(min=1))[cells] * core
    return DebiasingSet(labels, cluster_ids, weights, num_clusters, final_ids if config.final_clusters else None)


def _find_core(
    labels: Int[Tensor, " samples"], margins: Float[Tensor, " samples"] | None, config: DebiasingSetConfig
) -> Bool[Tensor, " samples"]:
    """Return which samples do not lie at the border."""
    num_left_out = int(config.border_share * len(labels))
    if not num_left_out:
        return torch.ones_like(labels, dtype=torch.bool)
    if margins is None:
        raise ConfigError(
            f"debiasing_set.border_share {config.border_share:g} needs the margin of each sample; give margins, or set "
            "it to 0"
        )
    core = margins >= margins.sort().values[num_left_out]
    lost = sorted(set(labels.tolist()) - set(labels[core].tolist()))
    if lost:
        raise DataError(
            f"all samples of class {lost[0]} are among the {num_left_out} that lie nearest to a border between "
            f"clusters, so none can be drawn; lower debiasing_set.border_share ({config.border_share:g})"
        )
    return core
