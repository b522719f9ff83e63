"""Folds for cross-fitting: parts of some samples with an equal share of every stratum."""

import torch
from jaxtyping import Int
from torch import Tensor


def draw_folds(strata: Int[Tensor, " samples"], num_folds: int, generator: torch.Generator) -> Int[Tensor, " samples"]:
    """Draw the fold of each sample, so that the samples of every stratum spread evenly over the folds.

    Args:
        strata: Stratum of each sample, such as its class.
        num_folds: Number of folds, at least 2.
        generator: Decides the folds.

    Returns:
        Fold of each sample, in ``[0, num_folds)``; the sizes differ by 1 at most.
    """
    order = torch.randperm(len(strata), generator=generator)
    order = order[strata[order].argsort(stable=True)]
    folds = torch.empty_like(order)
    folds[order] = torch.arange(len(order)) % num_folds
    return folds
