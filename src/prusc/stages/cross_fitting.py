"""Cross-fitting of heads: each held-out sample is predicted by a head that was fitted without it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prusc.config import DebiasingSetConfig
from prusc.data.rows import StoredRows
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import build_debiasing_set
from prusc.stages.folds import draw_folds
from prusc.stages.heads import Head, fit_heads, predict_held_out


@dataclass(frozen=True, eq=False)
class Folds:
    """Folds of held-out samples, and how samples are drawn for the head of each fold.

    Attributes:
        labels: Class of each sample.
        fold_ids: Fold of each sample, in ``[0, num_folds)``.
        weights: One row per fold: the probability of each sample in one draw for the head that predicts this fold, 0
            for the fold's own samples. The last row is for the head that is kept, which sees all folds.
    """

    labels: Int[Tensor, " samples"]
    fold_ids: Int[Tensor, " samples"]
    weights: Float[Tensor, "folds_and_all samples"]

    @property
    def num_drawn(self) -> int:
        """Number of samples that the kept head is fitted on."""
        return int((self.weights[-1] > 0).sum())

    def fit(
        self,
        representations: Float[Tensor, "samples dim"] | StoredRows,
        *,
        num_classes: int,
        l2: float,
        has_bias: bool = True,
    ) -> tuple[Head, Float[Tensor, "samples classes"]]:
        """Fit the kept head on all samples, and one head per fold on the other folds.

        Args:
            representations: Of the samples.
            num_classes: Number of classes.
            l2: See `fit_head`.
            has_bias: See `fit_head`.

        Returns:
            The kept head, and for each sample the logits of the head that was fitted without its fold.

        Raises:
            DataError: If the drawn samples have fewer than two classes.
        """
        heads = fit_heads(representations, self.labels, self.weights, num_classes=num_classes, l2=l2, has_bias=has_bias)
        return heads[-1], predict_held_out(representations, self.fold_ids, heads)


def make_folds(cells: Cells, config: DebiasingSetConfig, *, num_folds: int, generator: torch.Generator) -> Folds:
    """Divide held-out samples into folds, each with an equal share of every cell.

    Args:
        cells: Class and pseudo-attribute of each sample.
        config: How samples are drawn; the draws for a fold ignore its own samples.
        num_folds: At least 2.
        generator: Decides the folds.

    Raises:
        PruscError: As `build_debiasing_set`.
    """
    fold_ids = draw_folds(cells.ids, num_folds, generator)
    weights = torch.zeros(num_folds + 1, len(cells), dtype=torch.float64)
    # No sample is in fold num_folds, so its head sees all samples.
    for fold in range(num_folds + 1):
        others = (fold_ids != fold).nonzero()[:, 0]
        weights[fold, others] = build_debiasing_set(cells.subset(others), config).weights
    return Folds(cells.labels, fold_ids, weights)
