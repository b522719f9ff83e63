"""Stage 4: the de-biasing set, drawn so that the pseudo-attribute says little about the class."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from prusc.config import DebiasingSetConfig
from prusc.errors import ConfigError, DataError
from prusc.stages.cells import Cells


@dataclass(frozen=True, eq=False, repr=False)
class DebiasingSet:
    """Sampling probabilities of the samples of one split.

    Attributes:
        cells: Class and pseudo-attribute of each sample.
        weights: Probability of each sample in one draw, 0 if it is left out. They sum to 1; each class with a sample to
            draw gets the same share.
    """

    cells: Cells
    weights: Float[Tensor, " samples"]

    def __repr__(self) -> str:
        return f"DebiasingSet(draws from {int((self.weights > 0).sum())} of {len(self.weights)} samples)"

    def draw(self, num_samples: int, generator: torch.Generator) -> Int[Tensor, " drawn"]:
        """Draw sample indices with replacement."""
        return draw_indices(self.weights, num_samples, generator)


def draw_indices(
    weights: Float[Tensor, " samples"], num_samples: int, generator: torch.Generator
) -> Int[Tensor, " drawn"]:
    """Draw sample indices with replacement.

    Args:
        weights: One per sample, at least 0, on any scale.
        num_samples: Number of draws.
        generator: Source of the draws.
    """
    # torch.multinomial allows 2**24 categories and sums in float32; inverse transform sampling has no such limit.
    cumulative = weights.double().cumsum(0)
    uniform = torch.rand(num_samples, generator=generator, dtype=torch.float64) * cumulative[-1]
    return torch.searchsorted(cumulative, uniform, right=True).clamp_(max=len(weights) - 1)


def build_debiasing_set(cells: Cells, config: DebiasingSetConfig | None = None) -> DebiasingSet:
    """Give each class the same share, and each cell a share of its class by ``size ** cell_exponent``.

    The pseudo-attribute is least certain for samples near the border between two values. ``border_share`` leaves them
    out, so that the cells are purer.

    Args:
        cells: Class and pseudo-attribute of each sample. ``border_share`` needs their margins, ``final_clusters`` their
            finer ids.
        config: How samples are drawn; the defaults if ``None``.

    Returns:
        The probability of each sample.

    Raises:
        ConfigError: If a setting needs margins or finer ids, and the cells have none.
        DataError: If every cell is smaller than ``min_cell_size``, or a whole class lies at the border.

    Example:
        >>> import torch, prusc
        >>> cells = prusc.Cells(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
        >>> prusc.build_debiasing_set(cells).weights
        tensor([0.1250, 0.1250, 0.2500, 0.5000], dtype=torch.float64)
    """
    config = config or DebiasingSetConfig()
    split_cells = _split_further(cells, config)
    core = _find_core(cells.labels, cells.margins, config)
    num_classes, num_values = cells.num_classes, split_cells.num_values
    ids = split_cells.ids
    sizes = torch.bincount(ids[core], minlength=num_classes * num_values).double()
    used = sizes >= config.min_cell_size
    if not bool(used.any()):
        raise DataError(
            f"no cell (class x cluster) has {config.min_cell_size} samples, the largest has {int(sizes.max())}; lower "
            "debiasing_set.min_cell_size"
        )
    shares = torch.where(used, sizes.clamp(min=1) ** config.cell_exponent, torch.zeros_like(sizes))
    shares = shares.view(num_classes, num_values)
    per_class = shares.sum(dim=1, keepdim=True)
    shares = (shares / per_class.clamp(min=1e-300) / (per_class > 0).sum()).flatten()
    weights = (shares / sizes.clamp(min=1))[ids] * core
    return DebiasingSet(cells if config.final_clusters else replace(cells, finer_ids=None), weights)


def _split_further(cells: Cells, config: DebiasingSetConfig) -> Cells:
    """Return the cells to draw from, split by the clusters of the ERM network if ``final_clusters`` is set."""
    if not config.final_clusters:
        return cells
    if cells.finer_ids is None:
        raise ConfigError(
            f"debiasing_set.final_clusters {config.final_clusters} needs the cluster of each sample in the ERM "
            "network; pass finer_ids to Cells, or set it to 0"
        )
    return replace(
        cells,
        attribute_ids=cells.attribute_ids * config.final_clusters + cells.finer_ids,
        num_values=cells.num_values * config.final_clusters,
    )


def _find_core(
    labels: Int[Tensor, " samples"], margins: Float[Tensor, " samples"] | None, config: DebiasingSetConfig
) -> Bool[Tensor, " samples"]:
    """Return True for each sample that ``border_share`` does not leave out."""
    num_left_out = int(config.border_share * len(labels))
    if not num_left_out:
        return torch.ones_like(labels, dtype=torch.bool)
    if margins is None:
        raise ConfigError(
            f"debiasing_set.border_share {config.border_share:g} needs the margin of each sample; pass margins to "
            "Cells, or set it to 0"
        )
    core = margins >= margins.sort().values[num_left_out]
    lost = sorted(set(labels.tolist()) - set(labels[core].tolist()))
    if lost:
        raise DataError(
            f"all samples of class {lost[0]} are among the {num_left_out} samples nearest to a border between "
            f"clusters, so none can be drawn; lower debiasing_set.border_share ({config.border_share:g})"
        )
    return core
