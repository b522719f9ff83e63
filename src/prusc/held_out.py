"""Fit heads to held-out samples, each of which is judged by a head that was fitted without it."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prusc.config import DebiasingSetConfig
from prusc.debiasing_set import DebiasingSet, build_debiasing_set, cell_ids
from prusc.heads import fit_head


@dataclass(frozen=True, eq=False)
class HeldOut:
    """How held-out samples are drawn for heads.

    Attributes:
        labels: Class of each sample.
        fold_ids: Fold of each sample, in ``[0, num_folds)``.
        whole: How they are drawn for the head that is kept.
        without: Of each fold, the probability of each sample in one draw for the head that answers for the fold; 0 for
            its samples.
    """

    labels: Int[Tensor, " samples"]
    fold_ids: Int[Tensor, " samples"]
    whole: DebiasingSet
    without: Float[Tensor, "folds samples"]

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
        for fold, draw in enumerate((*self.without, self.whole.weights)):
            weight, bias = fit_head(representations, self.labels, draw, num_classes=num_classes, l2=l2)
            bias = bias if has_bias else torch.zeros_like(bias)
            answered = self.fold_ids == fold
            logits[answered] = representations[answered] @ weight.T + bias
        return weight, bias, logits


def hold_out(
    labels: Int[Tensor, " samples"],
    cluster_ids: Int[Tensor, " samples"],
    *,
    num_classes: int,
    num_clusters: int,
    config: DebiasingSetConfig,
    num_folds: int,
    generator: torch.Generator,
    margins: Float[Tensor, " samples"] | None = None,
    final_ids: Int[Tensor, " samples"] | None = None,
) -> HeldOut:
    """Divide held-out samples into folds, each with as much of every cell as can be, and say how they are drawn.

    Args:
        labels: Class of each sample.
        cluster_ids: Cluster of each sample.
        num_classes: Number of classes.
        num_clusters: Number of clusters.
        config: How they are drawn, see `build_debiasing_set`, which is told the samples that a fold leaves.
        num_folds: At least 2.
        generator: Decides the folds.
        margins: See `build_debiasing_set`.
        final_ids: Likewise.

    Raises:
        PruscError: As `build_debiasing_set`.
    """
    order = torch.randperm(len(labels), generator=generator)
    order = order[cell_ids(labels, cluster_ids, num_clusters)[order].argsort(stable=True)]
    fold_ids = torch.empty_like(order)
    fold_ids[order] = torch.arange(len(order)) % num_folds

    def draw(indices: Tensor) -> DebiasingSet:
        return build_debiasing_set(
            labels[indices],
            cluster_ids[indices],
            num_classes=num_classes,
            num_clusters=num_clusters,
            config=config,
            margins=None if margins is None else margins[indices],
            final_ids=None if final_ids is None else final_ids[indices],
        )

    whole = draw(torch.arange(len(labels)))
    without = torch.zeros(num_folds, len(labels), dtype=whole.weights.dtype)
    for fold in range(num_folds):
        others = (fold_ids != fold).nonzero()[:, 0]
        without[fold, others] = draw(others).weights
    return HeldOut(labels, fold_ids, whole, without)
