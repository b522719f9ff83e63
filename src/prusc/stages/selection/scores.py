"""Pseudo-groups of validation samples, and the score of a network on them."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from prusc.stages.cells import Cells, find_conflicting

SMALLEST_SIDE = 10
"""Sides that conflict and have fewer samples are judged as one: in them, one sample moves an accuracy by ten points."""


@dataclass(frozen=True, eq=False)
class PseudoGroups:
    """Groups of validation samples that judge: sides of the classes, the classes, or the true groups.

    Attributes:
        ids: Pseudo-group of each sample.
        sizes: Number of samples of each pseudo-group, at least 1.
        shares: Share of each pseudo-group in the mean; they sum to 1. Each class has the same share, and so have the
            groups of a class.
    """

    ids: Int[Tensor, " samples"]
    sizes: Int[Tensor, " groups"]
    shares: Float[Tensor, " groups"]

    def mean(self, values: Shaped[Tensor, " samples"]) -> Float[Tensor, " groups"]:
        """Return the mean of the values in each pseudo-group."""
        return torch.zeros(len(self.sizes), dtype=torch.float64).index_add_(0, self.ids, values.double()) / self.sizes


@dataclass(frozen=True)
class SelectionScore:
    """Score of one network.

    Attributes:
        mean: Mean accuracy over the pseudo-groups, each class with the same share.
        worst: Accuracy of the worst pseudo-group.
        error: Standard error of the score.
    """

    mean: float
    worst: float
    error: float

    @property
    def score(self) -> float:
        """The mean of both accuracies. Higher is better."""
        return (self.mean + self.worst) / 2


@dataclass(frozen=True)
class CellAccuracy:
    """Accuracy in a cell (class x pseudo-attribute) of the validation split, before and after.

    Attributes:
        label: Class.
        cluster: Value of the pseudo-attribute.
        num_samples: Number of validation samples that judge, at least 1.
        before: Accuracy of the ERM network in [0, 1].
        after: Accuracy of the chosen network in [0, 1].
    """

    label: int
    cluster: int
    num_samples: int
    before: float
    after: float


def pair_sides(cells: Cells) -> PseudoGroups:
    """Divide each class into two sides: samples that conflict with the pseudo-attribute, and the others.

    Single cells that conflict are small, so their accuracies are noisy. For the same reason, sides that conflict and
    have fewer than `SMALLEST_SIDE` samples are one pseudo-group together, with the sum of their shares.
    """
    conflicting = find_conflicting(cells)
    sides = _number(2 * cells.labels + conflicting, cells.labels)
    is_small = torch.zeros(len(sides.sizes), dtype=torch.bool)
    is_small[sides.ids[conflicting]] = True
    is_small &= sides.sizes < SMALLEST_SIDE
    merged = torch.where(is_small, len(is_small), torch.arange(len(is_small)))
    distinct, new = merged.unique(return_inverse=True)
    ids, shares = new[sides.ids], torch.zeros(len(distinct), dtype=torch.float64)
    return PseudoGroups(ids, torch.bincount(ids), shares.index_add_(0, new, sides.shares))


def take_classes(labels: Int[Tensor, " samples"]) -> PseudoGroups:
    """Use the classes as pseudo-groups."""
    return _number(labels, labels)


def take_groups(group_ids: Int[Tensor, " samples"], labels: Int[Tensor, " samples"]) -> PseudoGroups:
    """Use the true groups as pseudo-groups; each lies in one class."""
    return _number(group_ids, labels)


def _number(keys: Int[Tensor, " samples"], labels: Int[Tensor, " samples"]) -> PseudoGroups:
    distinct, ids, sizes = keys.unique(return_inverse=True, return_counts=True)
    of_group = torch.zeros(len(distinct), dtype=torch.long)
    of_group[ids] = labels
    per_class = torch.bincount(of_group)
    shares = 1 / (per_class[of_group] * (per_class > 0).sum()).double()
    return PseudoGroups(ids, sizes, shares)


def score_accuracies(accuracies: Float[Tensor, "*networks groups"], groups: PseudoGroups) -> Float[Tensor, "*networks"]:
    """Return the mean of two accuracies: that over the pseudo-groups, and that of the worst pseudo-group.

    The worst one alone is what counts, but it rests on few samples. The mean rests on all.
    """
    return (accuracies @ groups.shares + accuracies.amin(dim=-1)) / 2


def score_network(right: Bool[Tensor, " samples"], groups: PseudoGroups) -> SelectionScore:
    """Score one network, and estimate the standard error as if its worst pseudo-group were known beforehand.

    Args:
        right: Whether each prediction is right.
        groups: Pseudo-groups of the same samples.
    """
    accuracies = groups.mean(right)
    shares = groups.shares / 2
    shares[accuracies.argmin()] += 0.5
    error = (shares.square() * accuracies * (1 - accuracies) / groups.sizes).sum().sqrt()
    return SelectionScore((accuracies @ groups.shares).item(), accuracies.min().item(), error.item())


def measure_cells(
    before: Int[Tensor, " samples"], after: Int[Tensor, " samples"], cells: Cells
) -> tuple[CellAccuracy, ...]:
    """Return the accuracies of two networks in each cell.

    Args:
        before: Predictions of the ERM network.
        after: Predictions of the chosen network.
        cells: Cells of the same samples.

    Returns:
        The non-empty cells, ordered by value, within a value the largest first.
    """
    found = []
    for cluster, label in torch.stack([cells.attribute_ids, cells.labels], dim=1).unique(dim=0).tolist():
        inside = (cells.attribute_ids == cluster) & (cells.labels == label)
        accuracies = [(p[inside] == label).double().mean().item() for p in (before, after)]
        found.append(CellAccuracy(label, cluster, int(inside.sum()), *accuracies))
    return tuple(sorted(found, key=lambda cell: (cell.cluster, -cell.num_samples)))
