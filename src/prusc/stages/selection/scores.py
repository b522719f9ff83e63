"""Pseudo-groups of a validation split, and the scores of a network on them."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from prusc.stages.cells import Cells


@dataclass(frozen=True, eq=False)
class PseudoGroups:
    """Groups of validation samples that stand in for the true groups: pairs of cells, the classes, or the groups.

    Attributes:
        ids: Pseudo-group of each sample.
        sizes: Samples per pseudo-group.
        num_cells: Cells that each of them puts together.
        conflicting: Which of them hold samples whose class is rarer in their cluster than among all samples.
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
    """What a judge thinks of one network.

    Attributes:
        score: In [0, 1]; what it is depends on the judge.
        error: Its standard error.
    """

    score: float
    error: float


@dataclass(frozen=True)
class CellAccuracy:
    """A cell (class x cluster) of the validation split, before and after.

    Attributes:
        label: Class.
        cluster: Cluster.
        num_samples: Validation samples that judge; at least 1.
        before: Accuracy of the ERM network in [0, 1].
        after: Accuracy of the chosen network.
    """

    label: int
    cluster: int
    num_samples: int
    before: float
    after: float


def pair_cells(cells: Cells) -> PseudoGroups:
    """Put the cells of each class together in two: those that conflict with their cluster, and those that do not.

    A cell conflicts if its class is rarer in its cluster than among all samples. One by one such cells are small: the
    accuracy of a handful of samples says more about these samples than about the network.
    """
    labels, cluster_ids = cells.labels, cells.attribute_ids
    counts = torch.zeros(int(labels.max()) + 1, int(cluster_ids.max()) + 1, dtype=torch.float64)
    counts.index_put_((labels, cluster_ids), torch.ones(len(labels), dtype=torch.float64), accumulate=True)
    expected = counts.sum(dim=1, keepdim=True) * counts.sum(dim=0) / len(labels)
    # Sums of products: a cell that is just as frequent as expected must not fall on this side or that by rounding.
    conflicting = counts < expected - 1e-9
    keys = 2 * labels + conflicting[labels, cluster_ids]
    distinct, ids, sizes = keys.unique(return_inverse=True, return_counts=True)
    num_cells = torch.stack([((counts > 0) & ~conflicting).sum(dim=1), ((counts > 0) & conflicting).sum(dim=1)], dim=1)
    return PseudoGroups(ids, sizes, num_cells.flatten()[distinct], distinct % 2 == 1)


def number_groups(group_ids: Int[Tensor, " samples"]) -> PseudoGroups:
    """Take the classes, or the true groups, for pseudo-groups."""
    _, ids, sizes = group_ids.unique(return_inverse=True, return_counts=True)
    return PseudoGroups(ids, sizes, torch.ones_like(sizes), torch.zeros_like(sizes, dtype=torch.bool))


def measure_cells(
    before: Int[Tensor, " samples"], after: Int[Tensor, " samples"], cells: Cells
) -> tuple[CellAccuracy, ...]:
    """Compare two networks cell by cell.

    Args:
        before: Predictions of the ERM network.
        after: Predictions of the chosen network.
        cells: Of the same samples.

    Returns:
        The cells that have samples, cluster by cluster, the largest of each cluster first.
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
    """Shrink the accuracy of each pseudo-group towards a mean: the smaller the group, the more.

    The result is the mean of a beta distribution that began with ``prior_strength`` samples at that mean.

    Args:
        right: Whether each prediction is right.
        means: What each pseudo-group is shrunk towards.
        pseudo_groups: Of the same samples.
        prior_strength: Number of samples that the mean counts for.

    Returns:
        The accuracies, and their standard errors: the deviations of these distributions.
    """
    strengths = pseudo_groups.sizes + prior_strength
    smoothed = (pseudo_groups.sum(right) + prior_strength * means) / strengths
    return smoothed, (smoothed * (1 - smoothed) / (strengths + 1)).sqrt()


def mean_of_sides(right: Bool[Tensor, " samples"], pseudo_groups: PseudoGroups) -> Float[Tensor, " groups"]:
    """Return for each pseudo-group the mean accuracy over those that conflict, or over those that do not."""
    accuracies = pseudo_groups.mean(right)
    means = torch.empty_like(accuracies)
    for side in (pseudo_groups.conflicting, ~pseudo_groups.conflicting):
        means[side] = accuracies[side].mean()
    return means


def mean_rise(
    before: Bool[Tensor, " samples"], after: Bool[Tensor, " samples"], pseudo_groups: PseudoGroups
) -> tuple[float, float]:
    """Return by how much the mean accuracy over the cells rises, and its standard error.

    Pseudo-groups count as often as they hold cells: otherwise many clusters would hide a gain in small cells behind the
    cost in large ones.

    Args:
        before: Whether each prediction of the ERM network is right.
        after: Likewise of the other network.
        pseudo_groups: Of the same samples.
    """
    difference = after.double() - before.double()
    mean, squares = pseudo_groups.mean(difference), pseudo_groups.mean(difference.square())
    shares = pseudo_groups.num_cells / pseudo_groups.num_cells.sum()
    # Each group's mean has the variance of its samples; the groups are independent.
    variances = (squares - mean.square()) / pseudo_groups.sizes.double()
    return (shares * mean).sum().item(), (shares.square() * variances).sum().sqrt().item()


def find_plainest(scores: Sequence[SelectionScore], tolerance: float) -> int:
    """Find the plainest network that is as good as the best one.

    Args:
        scores: Of at least one network, the plainest first.
        tolerance: How many standard errors of the best score count as no difference; with 0 the best one is chosen.

    Returns:
        Its index.

    References:
        Breiman et al. 1984, "Classification and Regression Trees", section 3.4.3, for the rule of one standard error.
    """
    best = max(scores, key=lambda score: score.score)
    lowest = best.score - tolerance * best.error
    return next(index for index, score in enumerate(scores) if score.score >= lowest)
