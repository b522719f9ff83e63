"""Who judges candidates: the cells, the classes or (to compare) the true groups of a validation split.

One interface, `Judge`; PruSC's candidates and the settings of every other remedy are judged by the same objects.
docs/concepts/who-judges.md explains them.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot
from statistics import NormalDist
from typing import ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from jaxtyping import Bool, Float, Int
from torch import Tensor

from prusc.config import SelectionConfig
from prusc.stages.cells import Cells
from prusc.stages.pseudo_attributes.attribute import PseudoAttribute
from prusc.stages.selection.expected_accuracy import expected_accuracies
from prusc.stages.selection.scores import (
    PseudoGroups,
    SelectionScore,
    find_plainest,
    mean_of_sides,
    mean_rise,
    number_groups,
    pair_cells,
    smooth_accuracies,
)

Verdict = Literal["improved", "no-shortcut", "shortcut-only"]

DENSE = "dense"
"""Base name of the network without a mask."""


@runtime_checkable
class Judged(Protocol):
    """What a judge looks at: one candidate network."""

    @property
    def base_name(self) -> str:
        """Name of the network that it was made of: ``dense``, or that of its mask."""

    @property
    def val_logits(self) -> Float[Tensor, "val classes"]:
        """Its logits on the whole validation split; of samples that it was fitted on, those of fits without them."""


JudgedT = TypeVar("JudgedT", bound=Judged)


@dataclass(frozen=True, eq=False)
class Judge(ABC):
    """One way to compare networks on the validation samples that judge.

    Attributes:
        indices: Which samples of the validation split judge.
        cells: Class and pseudo-attribute of these samples.
        groups: Pseudo-groups of these samples.
        config: How much chance is allowed.
    """

    indices: Int[Tensor, " samples"]
    cells: Cells
    groups: PseudoGroups
    config: SelectionConfig

    kind: ClassVar[str]
    """What judges: ``cells``, ``classes`` or ``groups``."""
    is_always_first: ClassVar[bool] = False
    """Whether no other judge may be asked before this one."""

    @abstractmethod
    def score(self, candidate: Judged) -> SelectionScore:
        """Score one network; higher is better."""

    @abstractmethod
    def is_better(self, before: Judged, chosen: Judged, tried: Sequence[Judged]) -> bool:
        """Decide whether the network that this judge chose is better than the ERM network.

        Args:
            before: The ERM network.
            chosen: One of those that were tried.
            tried: All of them: the more were tried, the more luck the best one has had.
        """

    @abstractmethod
    def choose(self, candidates: Sequence[JudgedT], *, by_plainness: bool = True) -> JudgedT:
        """Choose the plainest candidate that is as good as the best one.

        Args:
            candidates: At least one; of each base network the plainest first.
            by_plainness: Whether the order of the candidates means anything; if not, the best one is chosen.
        """

    def explain_no_gain(self, before: Judged) -> Verdict:
        """Say why nothing was better than the ERM network.

        Returns:
            ``shortcut-only`` if it does worse than guessing on some pseudo-group, else ``no-shortcut``.
        """
        worst = self.groups.mean(self.right(before)).min().item()
        return "shortcut-only" if worst < 1 / len(self.labels.unique()) else "no-shortcut"

    @property
    def tolerance(self) -> float:
        """How many standard errors below the best score count as no difference."""
        return self.config.tolerance

    @property
    def labels(self) -> Int[Tensor, " samples"]:
        """Class of each sample that judges."""
        return self.cells.labels

    def logits(self, candidate: Judged) -> Float[Tensor, "samples classes"]:
        """Return a candidate's logits on the samples that judge."""
        return candidate.val_logits[self.indices]

    def right(self, candidate: Judged) -> Bool[Tensor, " samples"]:
        """Return which samples that judge a candidate classifies right."""
        return self.logits(candidate).argmax(dim=1) == self.labels


class ClassJudge(Judge):
    """Judges by the mean accuracy over the classes."""

    kind = "classes"

    def score(self, candidate: Judged) -> SelectionScore:
        """Return the mean accuracy over the classes."""
        accuracies = self.groups.mean(self.right(candidate))
        variances = accuracies * (1 - accuracies) / self.groups.sizes
        return SelectionScore(accuracies.mean().item(), variances.sum().sqrt().item() / len(accuracies))

    def is_better(self, before: Judged, chosen: Judged, tried: Sequence[Judged]) -> bool:
        """Ask that the mean rose, and that of the best candidate by more than its standard error.

        The chosen one was not picked for its luck, so no bound for the luckiest of all is asked of it.
        """
        best = max((self.score(candidate) for candidate in tried), key=lambda score: score.score)
        return self.score(before).score < min(self.score(chosen).score, best.score - best.error)

    def choose(self, candidates: Sequence[JudgedT], *, by_plainness: bool = True) -> JudgedT:
        """Choose the plainest base network first, and then the plainest network that was made of it.

        A heavily pruned network must not decide how strongly the head of the whole one is regularised.
        """
        tolerance = self.tolerance if by_plainness else 0.0
        of_base: dict[str, list[JudgedT]] = {}
        for candidate in candidates:
            of_base.setdefault(candidate.base_name, []).append(candidate)
        scores = [[self.score(candidate) for candidate in own] for own in of_base.values()]
        base = find_plainest([max(own, key=lambda score: score.score) for own in scores], tolerance)
        return list(of_base.values())[base][find_plainest(scores[base], tolerance)]


class WorstGroupJudge(Judge):
    """Judges by the lowest smoothed accuracy over the pseudo-groups.

    Clusters that mirror what the network learned miss part of the shortcut. A new head of the whole network can serve
    the cells that were found and keep the shortcut for the rest. So masked networks go first.
    """

    whole_network_first: ClassVar[bool] = False
    """Whether the whole network goes before masked ones that are as good."""

    def score(self, candidate: Judged) -> SelectionScore:
        """Return the lowest smoothed accuracy."""
        smoothed, errors = self.smooth(candidate)
        worst = int(smoothed.argmin())
        return SelectionScore(smoothed[worst].item(), errors[worst].item())

    def is_better(self, before: Judged, chosen: Judged, tried: Sequence[Judged]) -> bool:
        """Ask that the lowest smoothed accuracy rose, and so did the mean over the cells.

        The mean has to rise by more than the luckiest of so many candidates would by chance (Bonferroni's bound,
        one-sided).
        """
        lowest = [self.smooth(candidate)[0].min().item() for candidate in (before, chosen)]
        rise, error = mean_rise(self.right(before), self.right(chosen), self.groups)
        num_errors = NormalDist().inv_cdf(1 - self.config.significance / len(tried))
        return lowest[1] > lowest[0] and rise > num_errors * error

    def choose(self, candidates: Sequence[JudgedT], *, by_plainness: bool = True) -> JudgedT:
        """Choose the best of the bases that go first, if it is as good as the best of all."""
        # Of equal scores the order is that of the bases.
        bases = dict.fromkeys(candidate.base_name for candidate in candidates)
        scored = [(c, self.score(c)) for base in bases for c in candidates if c.base_name == base]
        scored.sort(key=lambda one: (self._goes_last(one[0]), -one[1].score))
        chosen = find_plainest([score for _, score in scored], self.tolerance if by_plainness else 0.0)
        return scored[chosen][0]

    def _goes_last(self, candidate: Judged) -> bool:
        return (candidate.base_name == DENSE) != self.whole_network_first

    def smooth(self, candidate: Judged) -> tuple[Float[Tensor, " groups"], Float[Tensor, " groups"]]:
        """Return the smoothed accuracy of each pseudo-group and its standard error.

        An accuracy is shrunk towards the mean over the pseudo-groups that conflict, or over those that do not.
        """
        right = self.right(candidate)
        return smooth_accuracies(right, mean_of_sides(right, self.groups), self.groups, self.config.prior_strength)


class CellJudge(WorstGroupJudge):
    """Judges by the cells (class x pseudo-attribute), put together in two for each class."""

    kind = "cells"


class GroupJudge(WorstGroupJudge):
    """Judges by the true groups, to compare with what cannot be known."""

    kind = "groups"

    @property
    def tolerance(self) -> float:
        """None: who knows the groups takes the best."""
        return 0.0


class UntrainedCellJudge(WorstGroupJudge):
    """Judges by cells of a network that had yet to learn the classes.

    Such cells are no mirror of what the ERM network learned: they hide no shortcut. So this judge is always asked
    first, and a mask has to be worth what it costs. A small cell is shrunk towards the accuracy that the cluster's
    effect on the other classes predicts, see `expected_accuracies`.
    """

    kind = "cells"
    is_always_first = True
    whole_network_first = True

    def score(self, candidate: Judged) -> SelectionScore:
        """Return the lowest lower bound: the smoothed accuracy less ``tolerance`` standard errors.

        Of two networks, the one that is known to serve every pseudo-group is better than one that is only predicted to.
        """
        smoothed, errors = self.smooth(candidate)
        bounds = smoothed - self.config.tolerance * errors
        worst = int(bounds.argmin())
        return SelectionScore(bounds[worst].item(), errors[worst].item())

    def is_better(self, before: Judged, chosen: Judged, tried: Sequence[Judged]) -> bool:
        """Ask that the lowest smoothed accuracy rose by more than ``tolerance`` standard errors of the difference.

        How many were tried is of no account: the accuracies rest on more than a handful of samples.
        """
        del tried
        (old, old_error), (new, new_error) = (
            (accuracies.min().item(), errors[accuracies.argmin()].item())
            for accuracies, errors in map(self.smooth, (before, chosen))
        )
        return new - old > self.config.tolerance * hypot(old_error, new_error)

    def smooth(self, candidate: Judged) -> tuple[Float[Tensor, " groups"], Float[Tensor, " groups"]]:
        """Return the accuracy of each pseudo-group, shrunk towards the predicted one, and its standard error."""
        expected = expected_accuracies(self.logits(candidate), self.labels, self.cells.attribute_ids)
        means = self.groups.mean(expected)
        return smooth_accuracies(self.right(candidate), means, self.groups, self.config.prior_strength)


def make_judges(
    cells: Cells,
    attribute: PseudoAttribute,
    config: SelectionConfig,
    *,
    indices: Int[Tensor, " samples"],
    group_ids: Int[Tensor, " val"] | None = None,
) -> tuple[Judge, ...]:
    """Return who judges: the cells and the classes, or one of them, or the true groups.

    Args:
        cells: Of the whole validation split.
        attribute: Where its structure is weak, the cells are no judge.
        config: The rule.
        indices: The validation samples that judge.
        group_ids: Group of each validation sample; read by the rule ``validation-groups`` alone.

    Returns:
        At least one judge; the cells before the classes.
    """
    judged = cells.subset(indices)
    if config.rule == "validation-groups":
        assert group_ids is not None, "checked before the run began"
        return (GroupJudge(indices, judged, number_groups(group_ids[indices]), config),)
    classes = ClassJudge(indices, judged, number_groups(judged.labels), config)
    if config.rule == "class-accuracy" or attribute.clustering.structure == "weak":
        return (classes,)
    kind = CellJudge if attribute.mirrors_network else UntrainedCellJudge
    return (kind(indices, judged, pair_cells(judged), config), classes)
