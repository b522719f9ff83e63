"""The judge scores networks on the validation split, and tests which ones are better than the ERM network.

The same judge chooses among PruSC's candidates and among the settings of other remedies. docs/concepts/who-judges.md
explains it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from prusc.config import SelectionConfig
from prusc.stages.cells import Cells, find_conflicting, find_main_classes
from prusc.stages.selection.scores import (
    SMALLEST_SIDE,
    PseudoGroups,
    SelectionScore,
    pair_sides,
    score_accuracies,
    score_network,
    take_classes,
    take_groups,
)

JudgeKind = Literal["cells", "classes", "groups"]

# Permutations are drawn in blocks, which bounds the memory.
_BLOCK, _BLOCK_SWAPS = 64, 2**23


@runtime_checkable
class Judged(Protocol):
    """What a judge needs to know of a network."""

    @property
    def val_logits(self) -> Float[Tensor, "val classes"]:
        """Its logits on the whole validation split; cross-fitted if its head was fitted there."""


JudgedT = TypeVar("JudgedT", bound=Judged)


@dataclass(frozen=True, eq=False)
class Decision(Generic[JudgedT]):
    """What a judge decides about networks that were tried.

    Attributes:
        best: Of those that are significantly better than the ERM network the one with the highest score; of all, if
            there is none.
        p_value: Its p-value; see `Judge.p_values`.
        is_better: Whether it is significantly better.
        replaces: Whether it is to replace the ERM network. That is so if it is better. It is also so if its score is
            higher and the ERM network follows the pseudo-attribute (`Judge.follows`): then doubt speaks against both.
    """

    best: JudgedT
    p_value: float
    is_better: bool
    replaces: bool


@dataclass(frozen=True, eq=False)
class Judge:
    """Compares networks on the validation samples that judge.

    Attributes:
        kind: What the pseudo-groups are: the sides of each class by the pseudo-attribute (``cells``), the ``classes``,
            or the true ``groups``.
        indices: Positions of the samples that judge in the validation split.
        cells: Class and pseudo-attribute of these samples.
        groups: Pseudo-groups of these samples.
        config: Significance level and number of permutations.
    """

    kind: JudgeKind
    indices: Int[Tensor, " samples"]
    cells: Cells
    groups: PseudoGroups
    config: SelectionConfig

    def right(self, candidate: Judged) -> Bool[Tensor, " samples"]:
        """Return True for each judging sample that a network predicts correctly."""
        return candidate.val_logits[self.indices].argmax(dim=1) == self.cells.labels

    def score(self, candidate: Judged) -> SelectionScore:
        """Score one network; higher is better."""
        return score_network(self.right(candidate), self.groups)

    def choose(self, candidates: Sequence[JudgedT]) -> JudgedT:
        """Return the network with the highest score; of equal ones the first."""
        return max(candidates, key=lambda candidate: self.score(candidate).score)

    def p_values(self, before: Judged, tried: Sequence[Judged]) -> Float[Tensor, " networks"]:
        """Test each of several networks for being better than the ERM network.

        If a network is as good as the ERM network, their predictions for a sample may change places. The permutations
        swap them at random, for the same samples in all networks. Each network's gain is divided by its standard
        deviation over the permutations. It is compared with the largest one over all networks in each permutation, so
        their number is accounted for.

        Args:
            before: The ERM network.
            tried: All networks that were tried, at least one.

        Returns:
            For each network the probability that any one shows such a gain without a true difference, at least
            1 / (permutations + 1).

        References:
            Westfall and Young 1993, "Resampling-Based Multiple Testing": the correction for many networks.
        """
        return gain_p_values(
            self.right(before),
            torch.stack([self.right(candidate) for candidate in tried]),
            self.groups,
            num_permutations=self.config.num_permutations,
        )

    def decide(self, before: Judged, tried: Sequence[JudgedT]) -> Decision[JudgedT]:
        """Choose among networks, and decide whether the choice replaces the ERM network.

        Args:
            before: The ERM network.
            tried: All networks that were tried, at least one.
        """
        p_values = self.p_values(before, tried).tolist()
        better = [c for c, p_value in zip(tried, p_values, strict=True) if p_value <= self.config.significance]
        best = self.choose(better or tried)
        is_higher = self.score(best).score > self.score(before).score
        return Decision(
            best=best,
            p_value=p_values[list(tried).index(best)],
            is_better=bool(better),
            replaces=bool(better) or (is_higher and self.follows(before)),
        )

    def follows(self, candidate: Judged) -> bool:
        """Decide whether a network follows the pseudo-attribute where that conflicts with the class.

        It does if, in a pseudo-group of at least `SMALLEST_SIDE` samples that conflict, it predicts the class that the
        pseudo-attribute stands for more often than the right one. Only pseudo-groups of cells can tell.
        """
        if self.kind != "cells":
            return False
        predictions = candidate.val_logits[self.indices].argmax(dim=1)
        misled = find_main_classes(self.cells)[self.cells.attribute_ids] == predictions
        excess = misled.double() - (predictions == self.cells.labels).double()
        conflicting = find_conflicting(self.cells)
        # A pseudo-group holds either samples that conflict or others.
        excesses = self.groups.mean(torch.where(conflicting, excess, 0.0))
        return bool(((excesses > 0) & (self.groups.sizes >= SMALLEST_SIDE)).any())

    def groups_differ(self, candidate: Judged) -> bool:
        """Decide whether the accuracies of a network in the pseudo-groups differ by more than chance.

        References:
            Pearson 1900, Philosophical Magazine 50, 157-175: the chi-squared test of a table.
        """
        right, sizes = self.groups.mean(self.right(candidate)) * self.groups.sizes, self.groups.sizes.double()
        share = right.sum() / sizes.sum()
        if len(sizes) < 2 or not 0 < share < 1:
            return False
        statistic = ((right - sizes * share).square() / (sizes * share * (1 - share))).sum()
        # The survival function of chi-squared is the regularised upper incomplete gamma function.
        half = torch.tensor((len(sizes) - 1) / 2, dtype=torch.float64)
        return bool(torch.special.gammaincc(half, statistic / 2) <= self.config.significance)


def gain_p_values(
    before: Bool[Tensor, " samples"],
    tried: Bool[Tensor, "networks samples"],
    groups: PseudoGroups,
    *,
    num_permutations: int,
) -> Float[Tensor, " networks"]:
    """Return the p-value of each network's gain; see `Judge.p_values`.

    Args:
        before: Whether each prediction of the ERM network is right.
        tried: The same for each network that was tried.
        groups: Pseudo-groups of the samples.
        num_permutations: At least 1.
    """
    old = groups.mean(before)
    differences = tried.double() - before.double()
    # Samples that no network predicts differently cannot change a score.
    moved = (differences != 0).any(dim=0)
    differences, ids = differences[:, moved], groups.ids[moved]
    in_group = torch.zeros(len(ids), len(old), dtype=torch.float64)
    in_group[torch.arange(len(ids)), ids] = 1 / groups.sizes[ids].double()
    gains = differences @ in_group
    observed = score_accuracies(old + gains, groups) - score_accuracies(old, groups)
    # The test must not depend on any other randomness of the run.
    generator = torch.Generator().manual_seed(0)
    found = torch.empty(num_permutations, len(tried), dtype=torch.float64)
    for block in found.split(min(_BLOCK, max(1, _BLOCK_SWAPS // max(len(ids), 1)))):
        swapped = torch.randint(2, (len(block), len(ids)), generator=generator).double()
        for network, (difference, gain) in enumerate(zip(differences, gains, strict=True)):
            moves = swapped @ (difference[:, None] * in_group)
            after, before_it = score_accuracies(old + gain - moves, groups), score_accuracies(old + moves, groups)
            block[:, network] = after - before_it
    # A network that predicts as the ERM network does has no gain in any permutation.
    deviations = found.square().mean(dim=0).sqrt().clamp(min=1e-12)
    largest = (found / deviations).amax(dim=1)
    exceeding = largest[:, None] >= observed / deviations - 1e-9
    return (1 + exceeding.sum(dim=0)).double() / (1 + num_permutations)


def make_judge(
    cells: Cells,
    config: SelectionConfig,
    *,
    indices: Int[Tensor, " samples"] | None = None,
    group_ids: Int[Tensor, " val"] | None = None,
) -> Judge:
    """Return the judge of a rule.

    Args:
        cells: Cells of the whole validation split.
        config: The rule, and the settings of the test.
        indices: Positions of the validation samples that judge; all if ``None``.
        group_ids: Group of each validation sample; only the rule ``validation-groups`` reads it.
    """
    indices = torch.arange(len(cells)) if indices is None else indices
    judged = cells.subset(indices)
    if config.rule == "validation-groups":
        assert group_ids is not None, "checked before the run began"
        return Judge("groups", indices, judged, take_groups(group_ids[indices], judged.labels), config)
    if config.rule == "class-accuracy":
        return Judge("classes", indices, judged, take_classes(judged.labels), config)
    return Judge("cells", indices, judged, pair_sides(judged), config)
