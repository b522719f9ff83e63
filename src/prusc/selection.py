"""Choose among networks by the cells of a validation split: no group label, no test sample."""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prusc.debiasing_set import cell_ids

Verdict = Literal["improved", "no-shortcut", "shortcut-only"]

SELECTION_RULE = "lowest smoothed accuracy over the cells (class x cluster) of the validation split"


@dataclass(frozen=True, eq=False)
class PseudoGroups:
    """The cells of a validation split, small ones put together.

    Attributes:
        ids: Pseudo-group of each sample.
        sizes: Samples per pseudo-group.
    """

    ids: Int[Tensor, " samples"]
    sizes: Int[Tensor, " groups"]


@dataclass(frozen=True)
class SelectionScore:
    """What the rule thinks of one network.

    Attributes:
        score: Smoothed accuracy of the worst pseudo-group, in [0, 1].
        mean_accuracy: Mean over the pseudo-groups.
    """

    score: float
    mean_accuracy: float


def make_pseudo_groups(
    labels: Int[Tensor, " samples"],
    cluster_ids: Int[Tensor, " samples"],
    *,
    num_clusters: int,
    min_size: int = 10,
) -> PseudoGroups:
    """Number the cells, and put the small cells of each class together.

    The accuracy of a handful of samples says more about the handful than about the network.

    Args:
        labels: Class of each validation sample.
        cluster_ids: Cluster of each validation sample.
        num_clusters: Number of clusters.
        min_size: Cells with fewer samples are small.

    Returns:
        The pseudo-groups; each sample is in one.
    """
    cells = cell_ids(labels, cluster_ids, num_clusters)
    sizes = torch.bincount(cells)
    # The number of a class's rest is one that no cell has.
    merged = torch.where(sizes[cells] >= min_size, cells, int(sizes.numel()) + labels)
    _, ids, merged_sizes = merged.unique(return_inverse=True, return_counts=True)
    return PseudoGroups(ids, merged_sizes)


def score_predictions(
    predictions: Int[Tensor, " samples"],
    labels: Int[Tensor, " samples"],
    pseudo_groups: PseudoGroups,
    *,
    prior_strength: float = 10.0,
) -> SelectionScore:
    """Smooth each pseudo-group's accuracy towards their mean, and take the lowest.

    Args:
        predictions: Predicted class of each validation sample.
        labels: Class of each validation sample.
        pseudo_groups: Of the same samples.
        prior_strength: How many samples the mean counts for.

    Returns:
        The score and what it comes from.
    """
    right = (predictions == labels).double()
    sums = _group_sums(right, pseudo_groups)
    mean = (sums / pseudo_groups.sizes).mean()
    smoothed = (sums + prior_strength * mean) / (pseudo_groups.sizes + prior_strength)
    return SelectionScore(score=smoothed.min().item(), mean_accuracy=mean.item())


def _group_sums(values: Float[Tensor, " samples"], pseudo_groups: PseudoGroups) -> Float[Tensor, " groups"]:
    return torch.zeros(len(pseudo_groups.sizes), dtype=torch.float64).index_add_(0, pseudo_groups.ids, values)


def find_verdict(
    *,
    before: Int[Tensor, " samples"],
    after: Int[Tensor, " samples"],
    labels: Int[Tensor, " samples"],
    pseudo_groups: PseudoGroups,
    num_errors: float = 2.0,
    even: float = 0.8,
) -> Verdict:
    """Decide whether the chosen network is better than the original, and why not if it is not.

    Better means: the worst pseudo-group's smoothed accuracy rose, and so did the mean over pseudo-groups, by more than
    chance explains.

    Args:
        before: Predictions of the original network.
        after: Predictions of the chosen one.
        labels: Class of each validation sample.
        pseudo_groups: Of the same samples.
        num_errors: How many standard errors of the paired difference the mean has to rise by.
        even: An original whose worst pseudo-group reaches this share of the mean fails on none.

    Returns:
        The verdict.
    """
    old, new = (score_predictions(p, labels, pseudo_groups) for p in (before, after))
    difference = (after == labels).double() - (before == labels).double()
    sizes = pseudo_groups.sizes.double()
    mean = _group_sums(difference, pseudo_groups) / sizes
    squares = _group_sums(difference.square(), pseudo_groups) / sizes
    # Each group's mean has the variance of its samples; the groups are independent.
    error = ((squares - mean.square()) / sizes).sum().sqrt() / len(sizes)
    if new.score > old.score and mean.mean() > num_errors * error:
        return "improved"
    return "no-shortcut" if old.score >= even * old.mean_accuracy else "shortcut-only"
