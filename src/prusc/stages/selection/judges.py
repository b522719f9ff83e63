"""Judges score candidates: by cells, by classes or (for comparison) by the true groups of the validation split.

All implement `Judge`. The same judges choose among PruSC's candidates and among the settings of other remedies.
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
from prusc.stages.candidates import DENSE
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

Verdict = Literal["improved", "no-shortcut", "shortcut-only", "within-budget"]


@runtime_checkable
class Judged(Protocol):
    """What a judge needs to know of a candidate."""

    @property
    def base_name(self) -> str:
        """Name of its base network: ``dense``, or ``mask@`` and a step."""

    @property
    def val_logits(self) -> Float[Tensor, "val classes"]:
        """Its logits on the whole validation split; cross-fitted if its head was fitted there."""


JudgedT = TypeVar("JudgedT", bound=Judged)


@dataclass(frozen=True, eq=False)
class Judge(ABC):
    """Compares networks on the validation samples that judge.

    Attributes:
        indices: Positions of these samples in the validation split.
        cells: Class and pseudo-attribute of these samples.
        groups: Pseudo-groups of these samples.
        config: Tolerance, significance level and strength of the prior.
    """

    indices: Int[Tensor, " samples"]
    cells: Cells
    groups: PseudoGroups
    config: SelectionConfig

    kind: ClassVar[str]
    """``cells``, ``classes`` or ``groups``."""
    is_always_first: ClassVar[bool] = False
    """Whether this judge is always asked first."""

    @abstractmethod
    def score(self, candidate: Judged) -> SelectionScore:
        """Score one network; higher is better."""

    @abstractmethod
    def is_better(self, before: Judged, chosen: Judged, tried: Sequence[Judged]) -> bool:
        """Decide whether the chosen candidate is better than the ERM network.

        Args:
            before: The ERM network.
            chosen: The candidate that this judge chose.
            tried: All candidates; the best of many is better by chance, so their number matters.
        """

    @abstractmethod
    def choose(self, candidates: Sequence[JudgedT], *, by_plainness: bool = True) -> JudgedT:
        """Choose the plainest candidate that is as good as the best one.

        Args:
            candidates: At least one; within each base network the plainest first.
            by_plainness: Whether the candidates are ordered by plainness. If not, the best one is chosen.
        """

    def explain_no_gain(self, before: Judged) -> Verdict:
        """Return the verdict if no candidate is better than the ERM network.

        Returns:
            ``shortcut-only`` if the ERM network is worse than guessing on some pseudo-group, else ``no-shortcut``.
        """
        worst = self.groups.mean(self.right(before)).min().item()
        return "shortcut-only" if worst < 1 / len(self.labels.unique()) else "no-shortcut"

    @property
    def tolerance(self) -> float:
        """Number of standard errors below the best score that count as no difference."""
        return self.config.tolerance

    @property
    def labels(self) -> Int[Tensor, " samples"]:
        """Class of each sample that judges."""
        return self.cells.labels

    def logits(self, candidate: Judged) -> Float[Tensor, "samples classes"]:
        """Return a candidate's logits on the samples that judge."""
        return candidate.val_logits[self.indices]

    def right(self, candidate: Judged) -> Bool[Tensor, " samples"]:
        """Return True for each judging sample that a candidate predicts correctly."""
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
        """Require a higher mean, and that the best candidate exceeds the ERM network by its standard error.

        The plainest candidate is chosen, not the best one, so no correction for the number of candidates is needed.
        """
        best = max((self.score(candidate) for candidate in tried), key=lambda score: score.score)
        return self.score(before).score < min(self.score(chosen).score, best.score - best.error)

    def choose(self, candidates: Sequence[JudgedT], *, by_plainness: bool = True) -> JudgedT:
        """Choose the plainest base network, then its plainest candidate.

        So candidates of a heavily pruned network do not affect the choice of ``l2`` for the whole network.
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

    Clusters of a network that has learned the classes miss part of the shortcut. A new head of the whole network can
    improve the cells that were found and keep the shortcut elsewhere. So masked networks are preferred.
    """

    whole_network_first: ClassVar[bool] = False
    """Whether the whole network is preferred to masked ones within the tolerance."""

    def score(self, candidate: Judged) -> SelectionScore:
        """Return the lowest smoothed accuracy."""
        smoothed, errors = self.smooth(candidate)
        worst = int(smoothed.argmin())
        return SelectionScore(smoothed[worst].item(), errors[worst].item())

    def is_better(self, before: Judged, chosen: Judged, tried: Sequence[Judged]) -> bool:
        """Require a higher lowest smoothed accuracy, and a significantly higher mean over the cells.

        The test of the mean is one-sided, with Bonferroni's correction for the number of candidates.
        """
        lowest = [self.smooth(candidate)[0].min().item() for candidate in (before, chosen)]
        rise, error = mean_rise(self.right(before), self.right(chosen), self.groups)
        num_errors = NormalDist().inv_cdf(1 - self.config.significance / len(tried))
        return lowest[1] > lowest[0] and rise > num_errors * error

    def choose(self, candidates: Sequence[JudgedT], *, by_plainness: bool = True) -> JudgedT:
        """Choose the best candidate of the preferred bases, if it is within the tolerance of the best of all."""
        # Ties keep the order of the bases.
        bases = dict.fromkeys(candidate.base_name for candidate in candidates)
        scored = [(c, self.score(c)) for base in bases for c in candidates if c.base_name == base]
        scored.sort(key=lambda one: (self._goes_last(one[0]), -one[1].score))
        chosen = find_plainest([score for _, score in scored], self.tolerance if by_plainness else 0.0)
        return scored[chosen][0]

    def _goes_last(self, candidate: Judged) -> bool:
        return (candidate.base_name == DENSE) != self.whole_network_first

    def smooth(self, candidate: Judged) -> tuple[Float[Tensor, " groups"], Float[Tensor, " groups"]]:
        """Return the smoothed accuracy of each pseudo-group and its standard error.

        Each is shrunk towards the mean over the conflicting pseudo-groups, or over the others.
        """
        right = self.right(candidate)
        return smooth_accuracies(right, mean_of_sides(right, self.groups), self.groups, self.config.prior_strength)


class CellJudge(WorstGroupJudge):
    """Judges by the cells (class x pseudo-attribute), merged to two pseudo-groups per class."""

    kind = "cells"


class GroupJudge(WorstGroupJudge):
    """Judges by the true groups, for comparison with judges that know no group labels."""

    kind = "groups"

    @property
    def tolerance(self) -> float:
        """0: with true groups the best candidate is chosen."""
        return 0.0


class UntrainedCellJudge(WorstGroupJudge):
    """Judges by cells of a network that had not learned the classes yet.

    Such cells do not depend on what the ERM network learned, so they do not hide its shortcut. So this judge is always
    asked first, and the whole network is preferred to a mask within the tolerance. The accuracy of a cell is shrunk
    towards the accuracy expected from how its cluster shifts the logits of other classes; see `expected_accuracies`.
    """

    kind = "cells"
    is_always_first = True
    whole_network_first = True

    def score(self, candidate: Judged) -> SelectionScore:
        """Return the lowest lower bound: the smoothed accuracy minus ``tolerance`` standard errors.

        So a measured accuracy counts more than an expected one.
        """
        smoothed, errors = self.smooth(candidate)
        bounds = smoothed - self.config.tolerance * errors
        worst = int(bounds.argmin())
        return SelectionScore(bounds[worst].item(), errors[worst].item())

    def is_better(self, before: Judged, chosen: Judged, tried: Sequence[Judged]) -> bool:
        """Require that the lowest smoothed accuracy rose by over ``tolerance`` standard errors of the difference.

        The number of candidates does not matter, because the expected accuracies rest on many samples.
        """
        del tried
        (old, old_error), (new, new_error) = (
            (accuracies.min().item(), errors[accuracies.argmin()].item())
            for accuracies, errors in map(self.smooth, (before, chosen))
        )
        return new - old > self.config.tolerance * hypot(old_error, new_error)

    def smooth(self, candidate: Judged) -> tuple[Float[Tensor, " groups"], Float[Tensor, " groups"]]:
        """Return the accuracy of each pseudo-group, shrunk towards the expected one, and its standard error."""
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
    """Return the judges of a rule: cells and classes, classes only, or the true groups.

    Args:
        cells: Cells of the whole validation split.
        attribute: With weak structure the cells do not judge.
        config: The rule, and the settings of the judges.
        indices: Positions of the validation samples that judge.
        group_ids: Group of each validation sample; only the rule ``validation-groups`` reads it.

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
