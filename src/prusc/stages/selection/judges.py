"""Choose among networks by the cells of a validation split: no group label, no test sample."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from prusc.config import SelectionConfig
from prusc.stages.pseudo_attributes.clustering import Clustering

Verdict = Literal["improved", "no-shortcut", "shortcut-only"]

_CELLS = (
    "cells: highest of the lowest smoothed accuracies over the cells (class x cluster) of the validation split, the "
    "cells of a class put together in two by whether they conflict with their cluster; a subnetwork before the whole "
    "network within the tolerance"
)
_CLASSES = "classes: the plainest network within the tolerance of the highest mean accuracy over its classes"
_SELECTION_RULES = {
    "pseudo-groups": (
        f"{_CLASSES}; {_CELLS}; the classes judge first where a new head serves them better, else the cells, if the "
        "clusters stand apart; the other is asked if nothing better than the original is found"
    ),
    "class-accuracy": _CLASSES,
    "validation-groups": "groups: highest of the lowest smoothed accuracies over the groups of the validation split",
}

# The other remedies hand back one of their settings, whatever comes of it; settings are in no order of plainness.
_BEST_OF_CLASSES = "classes: the setting of the highest mean accuracy over the classes of the validation split"
_SETTING_RULES = {
    "pseudo-groups": (
        f"{_BEST_OF_CLASSES}, if that is better than the original; else cells, if theirs is better: highest of the "
        "lowest smoothed accuracies over the cells (class x cluster), put together in two for each class; else classes"
    ),
    "class-accuracy": _BEST_OF_CLASSES,
    "validation-groups": _SELECTION_RULES["validation-groups"],
}
_UNTRAINED = (
    "; the clusters are those of the untrained network, so the cells are asked first: a cell's accuracy is smoothed "
    "towards what its cluster's effect on the other classes lets expect, and counts less the tolerance"
)
_WHOLE_FIRST = "; within the tolerance of each other the whole network then comes before a subnetwork"
_HELD_OUT = "; heads are fitted on validation samples, each of which judges by what heads fitted without it say"


def describe_selection(
    rule: str, clustering: Clustering, *, of_settings: bool = False, held_out_heads: bool = False
) -> str:
    """Say what chooses among the candidates of PruSC, or among the settings of another remedy.

    Args:
        rule: `SelectionConfig.rule`.
        clustering: Clusters of the untrained network judge in another way.
        of_settings: Which of the two.
        held_out_heads: Whether heads are fitted on the validation split.
    """
    text = (_SETTING_RULES if of_settings else _SELECTION_RULES)[rule]
    if rule == "pseudo-groups" and clustering.untrained:
        text += _UNTRAINED + ("" if of_settings else _WHOLE_FIRST)
    return text + (_HELD_OUT if held_out_heads else "")


@dataclass(frozen=True, eq=False)
class PseudoGroups:
    """The cells of a validation split, two by two; or its classes, or (to compare) its true groups.

    Attributes:
        ids: Pseudo-group of each sample.
        sizes: Samples per pseudo-group.
        num_cells: Cells that were put together in each.
        conflicting: Which of them hold samples whose class is rarer in their cluster than among all samples.
        kind: What they are: the worst of ``cells`` and ``groups`` counts, and the mean over ``classes``.
    """

    ids: Int[Tensor, " samples"]
    sizes: Int[Tensor, " groups"]
    num_cells: Int[Tensor, " groups"]
    conflicting: Bool[Tensor, " groups"]
    kind: Literal["cells", "classes", "groups"]


@dataclass(frozen=True, eq=False)
class Answers:
    """What a network says of the validation samples that judge.

    Attributes:
        predictions: Predicted class of each sample.
        expected: How often it should be right in the cell of each sample, see
            `expected_accuracies`; ``None`` where a cell is smoothed towards other cells instead.
    """

    predictions: Int[Tensor, " samples"]
    expected: Float[Tensor, " samples"] | None = None


@dataclass(frozen=True)
class SelectionScore:
    """What the rule thinks of one network.

    Attributes:
        score: Smoothed accuracy of the worst pseudo-group, in [0, 1], or where an accuracy is expected its lower bound;
            or mean accuracy over the classes.
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
        before: Accuracy of the original network in [0, 1].
        after: Accuracy of the one that is handed back.
    """

    label: int
    cluster: int
    num_samples: int
    before: float
    after: float


def measure_cells(
    *,
    before: Int[Tensor, " samples"],
    after: Int[Tensor, " samples"],
    labels: Int[Tensor, " samples"],
    cluster_ids: Int[Tensor, " samples"],
) -> tuple[CellAccuracy, ...]:
    """Compare two networks cell by cell.

    Args:
        before: Predictions of the original network.
        after: Predictions of the other.
        labels: Class of each validation sample.
        cluster_ids: Cluster of each validation sample.

    Returns:
        The cells that have samples, cluster by cluster, the largest of each cluster first.
    """
    cells = []
    for cluster, label in torch.stack([cluster_ids, labels], dim=1).unique(dim=0).tolist():
        inside = (cluster_ids == cluster) & (labels == label)
        accuracies = [(p[inside] == label).double().mean().item() for p in (before, after)]
        cells.append(CellAccuracy(label, cluster, int(inside.sum()), *accuracies))
    return tuple(sorted(cells, key=lambda cell: (cell.cluster, -cell.num_samples)))


def make_pseudo_groups(labels: Int[Tensor, " samples"], cluster_ids: Int[Tensor, " samples"] | None) -> PseudoGroups:
    """Put the cells of each class together in two: those that conflict with their cluster, and those that do not.

    A cell conflicts if its class is rarer in its cluster than among all samples. One by one such cells are small, and
    the accuracy of a handful of samples says more about the handful than about the network.

    Args:
        labels: Class of each validation sample.
        cluster_ids: Cluster of each validation sample; without them the classes are the pseudo-groups.

    Returns:
        The pseudo-groups; each sample is in one.
    """
    if cluster_ids is None:
        return _one_by_one(labels, "classes")
    counts = torch.zeros(int(labels.max()) + 1, int(cluster_ids.max()) + 1, dtype=torch.float64)
    counts.index_put_((labels, cluster_ids), torch.ones(len(labels), dtype=torch.float64), accumulate=True)
    expected = counts.sum(dim=1, keepdim=True) * counts.sum(dim=0) / len(labels)
    # Sums of products: a cell that is just as frequent as expected must not fall on this side or that by rounding.
    conflicting = counts < expected - 1e-9
    keys = 2 * labels + conflicting[labels, cluster_ids]
    distinct, ids, sizes = keys.unique(return_inverse=True, return_counts=True)
    num_cells = torch.stack([((counts > 0) & ~conflicting).sum(dim=1), ((counts > 0) & conflicting).sum(dim=1)], dim=1)
    return PseudoGroups(ids, sizes, num_cells.flatten()[distinct], distinct % 2 == 1, "cells")


def _one_by_one(group_ids: Int[Tensor, " samples"], kind: Literal["classes", "groups"]) -> PseudoGroups:
    _, ids, sizes = group_ids.unique(return_inverse=True, return_counts=True)
    return PseudoGroups(ids, sizes, torch.ones_like(sizes), torch.zeros_like(sizes, dtype=torch.bool), kind)


def make_judges(
    labels: Int[Tensor, " samples"],
    cluster_ids: Int[Tensor, " samples"],
    group_ids: Int[Tensor, " samples"] | None,
    *,
    clustering: Clustering,
    config: SelectionConfig,
) -> tuple[PseudoGroups, ...]:
    """Return what may judge: the cells and the classes, or one of them, or the true groups.

    Args:
        labels: Class of each validation sample.
        cluster_ids: Cluster of each validation sample.
        group_ids: Group of each validation sample; read by the rule ``validation-groups`` alone.
        clustering: Where its structure is weak, the cells are no judge.
        config: The rule.

    Returns:
        At least one judge.
    """
    if config.rule == "validation-groups":
        assert group_ids is not None, "checked before the run began"
        return (_one_by_one(group_ids, "groups"),)
    classes = make_pseudo_groups(labels, None)
    if config.rule == "class-accuracy" or clustering.structure == "weak":
        return (classes,)
    return (make_pseudo_groups(labels, cluster_ids), classes)


def score_answers(
    answers: Answers,
    labels: Int[Tensor, " samples"],
    pseudo_groups: PseudoGroups,
    config: SelectionConfig,
) -> SelectionScore:
    """Judge by the worst pseudo-group, or by the mean over the classes.

    An accuracy is smoothed towards what the answers expect or, where they expect nothing, the mean over the
    pseudo-groups that conflict, or over those that do not: it is the mean, and its standard error the deviation, of a
    beta distribution that began with ``prior_strength`` samples at that mean. Where they expect something, it counts
    less ``tolerance`` standard errors: of two networks, the one that is known to serve every pseudo-group is better
    than the one that is only expected to.

    Args:
        answers: Of the network, for the validation samples that judge.
        labels: Class of each validation sample.
        pseudo_groups: Of the same samples.
        config: Says how many samples that mean counts for.

    Returns:
        The score.
    """
    if pseudo_groups.kind != "classes":
        smoothed, errors = _smoothed_accuracies(answers, labels, pseudo_groups, config)
        bounds = smoothed if answers.expected is None else smoothed - config.tolerance * errors
        worst = int(bounds.argmin())
        return SelectionScore(bounds[worst].item(), errors[worst].item())
    accuracies = _group_sums((answers.predictions == labels).double(), pseudo_groups) / pseudo_groups.sizes
    variances = accuracies * (1 - accuracies) / pseudo_groups.sizes
    return SelectionScore(accuracies.mean().item(), variances.sum().sqrt().item() / len(accuracies))


def _smoothed_accuracies(
    answers: Answers,
    labels: Int[Tensor, " samples"],
    pseudo_groups: PseudoGroups,
    config: SelectionConfig,
) -> tuple[Float[Tensor, " groups"], Float[Tensor, " groups"]]:
    """Return the accuracies and their standard errors."""
    sums = _group_sums((answers.predictions == labels).double(), pseudo_groups)
    if answers.expected is not None:
        means = _group_sums(answers.expected, pseudo_groups) / pseudo_groups.sizes
    else:
        accuracies = sums / pseudo_groups.sizes
        means = torch.empty_like(accuracies)
        for side in (pseudo_groups.conflicting, ~pseudo_groups.conflicting):
            means[side] = accuracies[side].mean()
    strengths = pseudo_groups.sizes + config.prior_strength
    smoothed = (sums + config.prior_strength * means) / strengths
    return smoothed, (smoothed * (1 - smoothed) / (strengths + 1)).sqrt()


def choose(scores: Sequence[SelectionScore], tolerance: float) -> int:
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


def _group_sums(values: Float[Tensor, " samples"], pseudo_groups: PseudoGroups) -> Float[Tensor, " groups"]:
    return torch.zeros(len(pseudo_groups.sizes), dtype=torch.float64).index_add_(0, pseudo_groups.ids, values)


def is_better(
    *,
    before: Answers,
    tried: Sequence[Answers],
    chosen: int,
    labels: Int[Tensor, " samples"],
    judge: PseudoGroups,
    config: SelectionConfig,
) -> bool:
    """Decide whether what a judge chose is better than the original.

    Args:
        before: Those of the original network.
        tried: Those of every candidate.
        chosen: Which of them the judge chose.
        labels: Class of each sample.
        judge: Cells (or groups): see `cells_improved`. Classes: the mean over them rose, and the best candidate's is
            more than its standard error above the original's. The chosen one was not picked for its luck, so no bound
            for the luckiest of all is asked of it.
        config: The rule.
    """
    if judge.kind != "classes":
        return cells_improved(
            before=before,
            after=tried[chosen],
            labels=labels,
            pseudo_groups=judge,
            num_candidates=len(tried),
            config=config,
        )
    score = partial(score_answers, labels=labels, pseudo_groups=judge, config=config)
    best = max((score(answers) for answers in tried), key=lambda score: score.score)
    return score(before).score < min(score(tried[chosen]).score, best.score - best.error)


def cells_improved(
    *,
    before: Answers,
    after: Answers,
    labels: Int[Tensor, " samples"],
    pseudo_groups: PseudoGroups,
    num_candidates: int,
    config: SelectionConfig,
) -> bool:
    """Decide whether the network that the cells chose is better than the original.

    Better means: the lowest smoothed accuracy rose, and so did the mean over the cells, by more than the luckiest of so
    many candidates would by chance (Bonferroni's bound, one-sided). Cells that were put together count as many: else
    many clusters would hide a gain in small cells behind the cost in large ones. Where the answers say what accuracy to
    expect, the lowest smoothed accuracy is known from more than a handful of samples, and it is enough that it rose by
    more than ``tolerance`` standard errors of the difference.

    Args:
        before: Those of the original network.
        after: Those of the chosen one.
        labels: Class of each validation sample.
        pseudo_groups: Of the same samples.
        num_candidates: Among how many the chosen one was chosen, at least 1.
        config: How much chance is allowed.
    """
    smoothed = [_smoothed_accuracies(answers, labels, pseudo_groups, config) for answers in (before, after)]
    (old, old_error), (new, new_error) = (
        (accuracies.min().item(), errors[accuracies.argmin()].item()) for accuracies, errors in smoothed
    )
    if before.expected is not None:
        return new - old > config.tolerance * math.hypot(old_error, new_error)
    difference = (after.predictions == labels).double() - (before.predictions == labels).double()
    sizes = pseudo_groups.sizes.double()
    mean = _group_sums(difference, pseudo_groups) / sizes
    squares = _group_sums(difference.square(), pseudo_groups) / sizes
    shares = pseudo_groups.num_cells / pseudo_groups.num_cells.sum()
    rise = (shares * mean).sum().item()
    # Each group's mean has the variance of its samples; the groups are independent.
    error = (shares.square() * (squares - mean.square()) / sizes).sum().sqrt().item()
    num_errors = NormalDist().inv_cdf(1 - config.significance / num_candidates)
    return new > old and rise > num_errors * error


def explain_no_gain(
    predictions: Int[Tensor, " samples"], labels: Int[Tensor, " samples"], *, pseudo_groups: PseudoGroups
) -> Verdict:
    """Say why nothing was better than the original.

    Args:
        predictions: Of the original network.
        labels: Class of each validation sample.
        pseudo_groups: Of the same samples.

    Returns:
        ``shortcut-only`` if it does worse than guessing on some pseudo-group, else ``no-shortcut``.
    """
    accuracies = _group_sums((predictions == labels).double(), pseudo_groups) / pseudo_groups.sizes
    return "shortcut-only" if accuracies.min().item() < 1 / len(labels.unique()) else "no-shortcut"
