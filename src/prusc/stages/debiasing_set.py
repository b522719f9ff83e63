"""Stage 4: the de-biasing set, drawn so that the pseudo-attribute says little about the class."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prusc.config import DebiasingSetConfig
from prusc.errors import DataError
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

    Args:
        cells: Class and pseudo-attribute of each sample.
        config: How samples are drawn; the defaults if ``None``.

    Returns:
        The probability of each sample.

    Raises:
        DataError: If every cell is smaller than ``min_cell_size``.

    Example:
        >>> import torch, prusc
        >>> cells = prusc.Cells(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 0, 1, 1]))
        >>> prusc.build_debiasing_set(cells).weights
        tensor([0.1250, 0.1250, 0.2500, 0.5000], dtype=torch.float64)
    """
    config = config or DebiasingSetConfig()
    num_classes, num_values = cells.num_classes, cells.num_values
    ids = cells.ids
    sizes = torch.bincount(ids, minlength=num_classes * num_values).double()
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
    return DebiasingSet(cells, (shares / sizes.clamp(min=1))[ids])
