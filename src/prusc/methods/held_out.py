"""Logits of held-out samples for methods that fit to the validation split, which also judges."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prusc.stages.folds import draw_folds

NUM_FOLDS = 5

Predict = Callable[[Int[Tensor, " chosen"]], Float[Tensor, "chosen classes"]]
"""Takes indices of samples and returns their logits."""


def cross_fit(
    fit: Callable[[Int[Tensor, " chosen"]], Predict],
    strata: Int[Tensor, " samples"],
    generator: torch.Generator,
) -> Float[Tensor, "samples classes"]:
    """Return logits of each sample from a fit that has not seen the sample.

    Args:
        fit: Takes the indices of the samples to fit to, and returns a function from indices to logits.
        strata: Stratum of each sample; each fold has an equal share of all of them.
        generator: Decides the folds.
    """
    folds = draw_folds(strata, NUM_FOLDS, generator)
    logits: Tensor | None = None
    for fold in range(NUM_FOLDS):
        inside, others = (folds == fold).nonzero()[:, 0], (folds != fold).nonzero()[:, 0]
        if not len(inside):
            continue
        found = fit(others)(inside)
        if logits is None:
            logits = torch.empty(len(strata), found.shape[1])
        logits[inside] = found.float()
    assert logits is not None, "a split has samples"
    return logits
