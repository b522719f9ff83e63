"""Pseudo-groups of validation samples, and the scores of a network on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from prusc.stages.cells import Cells


@dataclass(frozen=True, eq=False)
class PseudoGroups:
    """Groups of validation samples that judge: merged cells, the classes, or the true groups.

    Attributes:
        ids: Pseudo-group of each sample.
        sizes: Number of samples of each pseudo-group.
        num_cells: Number of cells that each of them merges.
        conflicting: Whether its samples conflict: their class is rarer in their cluster than among all samples.
    """

    ids: Int[Tensor, " samples"]
    sizes: Int[Tensor, " groups"]
    num_cells: Int[Tensor, " groups"]
    conflicting: Bool[Tensor, " groups"]

    def sum(self, values: Shaped[Tensor, " samples"]) -> Float[Tensor, " groups"]:
        """Return the sum of the values in each pseudo-group."""
        return torch.zeros(len(self.sizes), dtype=torch.float64).index_add_(0, self.ids, values.double())

    def mean(self, values: Shaped[Tensor, " samples"]) -> Float[Tensor, " groups"]:
        """Return the mean of the values in each pseudo-group."""
        return self.sum(values) / self.sizes


@dataclass(frozen=True)
class SelectionScore:
    """Score of one network by one judge.

    Attributes:
        score: An accuracy; which one depends on the judge. Higher is better.
        error: Its standard error.
    """

    score: float
    error: float


@dataclass(frozen=True)
class CellAccuracy:
    """Accuracy in a cell (class x cluster) of the validation split, before and after.

    Attributes:
        label: Class.
        cluster: Cluster.
        num_samples: Number of validation samples that judge, at least 1.
        before: Accuracy of the ERM network in [0, 1].
        after: Accuracy of the chosen network in [0, 1].
    """

    label: int
    cluster: int
    num_samples: int
    before: float
    after: float


def pair_cells(cells: Cells) -> PseudoGroups:
    """Merge the cells of each class to two pseudo-groups: cells that conflict with their cluster, and the others.

    A cell conflicts if its class is rarer in its cluster than among all samples. Single conflicting cells are small, so
    their accuracies are noisy.
    """
    labels, cluster_ids = cells.labels, cells.attribute_ids
    counts = torch.zeros(int(labels.max()) + 1, int(cluster_ids.max()) + 1, dtype=torch.float64)
    counts.index_put_((labels, cluster_ids), torch.ones(len(labels), dtype=torch.float64), accumulate=True)
    expected = counts.sum(dim=1, keepdim=True) * counts.sum(dim=0) / len(labels)
    # Rounding must not decide for a cell that is exactly as frequent as expected.
    conflicting = counts < expected - 1e-9
    keys = 2 * labels + conflicting[labels, cluster_ids]
    distinct, ids, sizes = keys.unique(return_inverse=True, return_counts=True)
    num_cells = torch.stack([((counts > 0) & ~conflicting).sum(dim=1), ((counts > 0) & conflicting).sum(dim=1)], dim=1)
    return PseudoGroups(ids, sizes, num_cells.flatten()[distinct], distinct % 2 == 1)


def number_groups(group_ids: Int[Tensor, " samples"]) -> PseudoGroups:
    """Use the classes, or the true groups, as pseudo-groups."""
    _, ids, sizes = group_ids.unique(return_inverse=True, return_counts=True)
    return PseudoGroups(ids, sizes, torch.ones_like(sizes), torch.zeros_like(sizes, dtype=torch.bool))


def measure_cells(
    before: Int[Tensor, " samples"], after: Int[Tensor, " samples"], cells: Cells
) -> tuple[CellAccuracy, ...]:
    """Return the accuracies of two networks in each cell.

    Args:
        before: Predictions of the ERM network.
        after: Predictions of the chosen network.
        cells: Cells of the same samples.

    Returns:
        The non-empty cells, ordered by cluster, within a cluster the largest first.
    """
    found = []
    for cluster, label in torch.stack([cells.attribute_ids, cells.labels], dim=1).unique(dim=0).tolist():
        inside = (cells.attribute_ids == cluster) & (cells.labels == label)
        accuracies = [(p[inside] == label).double().mean().item() for p in (before, after)]
        found.append(CellAccuracy(label, cluster, int(inside.sum()), *accuracies))
    return tuple(sorted(found, key=lambda cell: (cell.cluster, -cell.num_samples)))


def smooth_accuracies(
    right: Bool[Tensor, " samples"],
    means: Float[Tensor, " groups"],
    pseudo_groups: PseudoGroups,
    prior_strength: float,
) -> tuple[Float[Tensor, " groups"], Float[Tensor, " groups"]]:
    """Shrink the accuracy of each pseudo-group towards a prior mean; small groups are shrunk more.

    The result is the mean of a beta posterior, whose prior counts as ``prior_strength`` samples.

    Args:
        right: Whether each prediction is right.
        means: Prior mean of each pseudo-group.
        pseudo_groups: Pseudo-groups of the same samples.
        prior_strength: Number of samples that the prior counts as.

    Returns:
        The accuracies, and their standard errors: the standard deviations of the posteriors.
    """
    strengths = pseudo_groups.sizes + prior_strength
    smoothed = (pseudo_groups.sum(right) + prior_strength * means) / strengths
    return smoothed, (smoothed * (1 - smoothed) / (strengths + 1)).sqrt()


def mean_of_sides(right: Bool[Tensor, " samples"], pseudo_groups: PseudoGroups) -> Float[Tensor, " groups"]:
    """Return for each pseudo-group the mean accuracy over the conflicting ones, or over the others."""
    accuracies = pseudo_groups.mean(right)
    means = torch.empty_like(accuracies)
    for side in (pseudo_groups.conflicting, ~pseudo_groups.conflicting):
        means[side] = accuracies[side].mean()
    return means


def mean_rise(
    before: Bool[Tensor, " samples"], after: Bool[Tensor, " samples"], pseudo_groups: PseudoGroups
) -> tuple[float, float]:
    """Return the rise of the mean accuracy over the cells, and its standard error.

    Pseudo-groups are weighted by their number of cells. Otherwise, with many clusters, the cost in large cells would
    hide a gain in small ones.

    Args:
        before: Whether each prediction of the ERM network is right.
        after: Whether each prediction of the other network is right.
        pseudo_groups: Pseudo-groups of the same samples.
    """
    difference = after.double() - before.double()
    mean, squares = pseudo_groups.mean(difference), pseudo_groups.mean(difference.square())
    shares = pseudo_groups.num_cells / pseudo_groups.num_cells.sum()
    # Variance of a group's mean: that of its samples divided by their number; groups are independent.
    variances = (squares - mean.square()) / pseudo_groups.sizes.double()
    return (shares * mean).sum().item(), (shares.square() * variances).sum().sqrt().item()


def find_plainest(scores: Sequence[SelectionScore], tolerance: float) -> int:
    """Find the plainest network within the tolerance of the best one.

    Args:
        scores: Scores of at least one network, the plainest first.
        tolerance: Number of standard errors of the best score that count as no difference; 0 finds the best one.

    Returns:
        Its index.

    References:
        Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3: the one-standard-error rule.
    """
    best = max(scores, key=lambda score: score.score)
    lowest = best.score - tolerance * best.error
    return next(index for index, score in enumerate(scores) if score.score >= lowest)
