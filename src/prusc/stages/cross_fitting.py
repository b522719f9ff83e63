"""Fit heads to held-out samples, each of which is judged by a head that was fitted without it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prusc.stages.debiasing_set import DebiasingSet
from prusc.stages.heads import fit_head


@dataclass(frozen=True, eq=False)
class HeldOut:
    """How held-out samples are drawn for heads.

    Attributes:
        labels: Class of each sample.
        fold_ids: Fold of each sample, in ``[0, num_folds)``.
        weights: Of each fold, the probability of each sample in one draw for the head that answers for the fold, 0 for
            its samples; last, for the head that is kept.
    """

    labels: Int[Tensor, " samples"]
    fold_ids: Int[Tensor, " samples"]
    weights: Float[Tensor, "folds_and_all samples"]

    def fit(
        self, representations: Float[Tensor, "samples dim"], *, num_classes: int, l2: float, has_bias: bool = True
    ) -> tuple[Float[Tensor, "classes dim"], Float[Tensor, " classes"], Float[Tensor, "samples classes"]]:
        """Fit a head to all samples, and one for each fold to the others.

        Args:
            representations: Of the samples.
            num_classes: Number of classes.
            l2: See `fit_head`.
            has_bias: Whether the layer that the head is for has a bias; else it is 0.

        Returns:
            Weight and bias of the head, and for each sample the logits of the head that was fitted without its fold.

        Raises:
            DataError: If what is drawn has fewer than two classes.
        """
        logits = torch.empty(len(self.labels), num_classes)
        weight = bias = torch.empty(0)
        for fold, draw in enumerate(self.weights):
            weight, bias = fit_head(representations, self.labels, draw, num_classes=num_classes, l2=l2)
            bias = bias if has_bias else torch.zeros_like(bias)
            answered = self.fold_ids == fold
            logits[answered] = representations[answered] @ weight.T + bias
        return weight, bias, logits


def hold_out(
    labels: Int[Tensor, " samples"],
    cells: Int[Tensor, " samples"],
    draw: Callable[[Int[Tensor, " some"]], DebiasingSet],
    *,
    num_folds: int,
    generator: torch.Generator,
) -> HeldOut:
    """Divide held-out samples into folds, each with as much of every cell as can be, and say how they are drawn.

    Args:
        labels: Class of each sample.
        cells: Cell of each sample.
        draw: Says how samples are drawn that are given by their indices, without looking at the others.
        num_folds: At least 2.
        generator: Decides the folds.

    Raises:
        PruscError: As ``draw``.
    """
    order = torch.randperm(len(labels), generator=generator)
    order = order[cells[order].argsort(stable=True)]
    fold_ids = torch.empty_like(order)
    fold_ids[order] = torch.arange(len(order)) % num_folds
    weights = torch.zeros(num_folds + 1, len(labels), dtype=torch.float64)
    # No sample is of the fold after the last.
    for fold in range(num_folds + 1):
        others = (fold_ids != fold).nonzero()[:, 0]
        weights[fold, others] = draw(others).weights
    return HeldOut(labels, fold_ids, weights)
