"""What the judge thinks of networks whose accuracy in every cell is known."""

import itertools

import pytest
import torch
from scipy.stats import chi2_contingency
from torch import Tensor

from prusc.config import SelectionConfig
from prusc.stages.cells import Cells
from prusc.stages.selection.judge import gain_p_values, make_judge
from prusc.stages.selection.scores import PseudoGroups, pair_sides
from tests.networks import generator
from tests.stages.selection.candidates import Answers, answer, cells_of, judge_of


def slow_gain(before: list[bool], after: list[bool], groups: PseudoGroups) -> float:
    """The gain in score, from plain lists."""
    scores = []
    for right in (before, after):
        accuracies = []
        for group in range(len(groups.sizes)):
            own = [r for r, i in zip(right, groups.ids.tolist(), strict=True) if i == group]
            accuracies.append(sum(own) / len(own))
        mean = sum(share * accuracy for share, accuracy in zip(groups.shares.tolist(), accuracies, strict=True))
        scores.append((mean + min(accuracies)) / 2)
    return scores[1] - scores[0]


def slow_p_values(before: list[bool], tried: list[list[bool]], groups: PseudoGroups) -> list[float]:
    """The exact p-values: over all ways to swap the predictions of samples."""
    swaps = list(itertools.product((False, True), repeat=len(before)))
    gains = []
    for after in tried:
        of_swap = []
        for swap in swaps:
            pairs = [(a, b) if s else (b, a) for b, a, s in zip(before, after, swap, strict=True)]
            of_swap.append(slow_gain([b for b, _ in pairs], [a for _, a in pairs], groups))
        gains.append(of_swap)
    deviations = [max((sum(g * g for g in own) / len(own)) ** 0.5, 1e-12) for own in gains]
    observed = [own[0] for own in gains]
    largest = [max(g / d for g, d in zip(column, deviations, strict=True)) for column in zip(*gains, strict=True)]
    return [
        sum(value >= gain / deviation - 1e-9 for value in largest) / len(swaps)
        for gain, deviation in zip(observed, deviations, strict=True)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_the_p_value_is_that_of_all_permutations(seed: int) -> None:
    source = generator(seed)
    labels = torch.tensor([0] * 6 + [1] * 5)
    groups = pair_sides(Cells(labels, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1, 1, 0, 0])))
    before = torch.rand(11, generator=source) < 0.5
    tried = torch.rand(3, 11, generator=source) < torch.tensor([[0.9], [0.5], [0.7]])
    found = gain_p_values(before, tried, groups, num_permutations=4000)
    for p_value, exact in zip(found.tolist(), slow_p_values(before.tolist(), tried.tolist(), groups), strict=True):
        assert p_value == pytest.approx(exact, abs=4 * (exact * (1 - exact) / 4000) ** 0.5 + 1e-3)


def test_the_best_of_the_equal_is_the_first() -> None:
    cells = cells_of([[40, 10], [10, 40]])
    judge = judge_of(cells)
    worse, good, same = (answer(cells, [[0.9, share], [share, 0.9]]) for share in (0.3, 0.8, 0.8))
    assert judge.choose([worse, good, same]) is good
    assert judge.score(good).score > judge.score(worse).score


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # The worst cells are served better.
        ([[0.99, 0.2], [0.2, 0.99]], [[0.85, 0.8], [0.8, 0.85]], True),
        # Some cells gain, and the worst one loses as much.
        ([[0.8, 0.6], [0.6, 0.8]], [[0.85, 0.65], [0.5, 0.85]], False),
        # Nothing rose.
        ([[0.9, 0.85], [0.85, 0.9]], [[0.9, 0.85], [0.85, 0.9]], False),
    ],
)
def test_what_is_better(before: list[list[float]], after: list[list[float]], expected: bool) -> None:
    cells = cells_of([[950, 60], [60, 950]])
    p_values = judge_of(cells).p_values(answer(cells, before), [answer(cells, after)] * 20)
    assert bool((p_values <= 0.05).all()) == bool((p_values <= 0.05).any()) == expected


def test_a_network_that_differs_much_does_not_hide_one_that_gains_a_little() -> None:
    cells = cells_of([[900, 100], [100, 900]])
    before = answer(cells, [[0.9, 0.5], [0.5, 0.9]])
    # One gains for sure; the other gains as much in the mean, but swaps right and wrong for half of all samples.
    sure = answer(cells, [[0.9, 0.62], [0.62, 0.9]])
    wild = sure.val_logits.clone()
    flipped = torch.rand(len(cells), generator=generator(0)) < 0.5
    wild[flipped] = wild[flipped].flip(1)
    p_values = judge_of(cells).p_values(before, [sure, Answers(wild)])
    assert p_values[0] <= 0.01 < 0.2 < p_values[1]


def test_the_size_of_the_blocks_of_permutations_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = cells_of([[90, 10], [10, 90]])
    judge, before = judge_of(cells), answer(cells, [[0.9, 0.5], [0.5, 0.9]])
    tried = [answer(cells, [[0.9, share], [share, 0.9]]) for share in (0.6, 0.4)]
    expected = judge.p_values(before, tried)
    monkeypatch.setattr("prusc.stages.selection.judge._BLOCK_SWAPS", 50)
    assert torch.equal(judge.p_values(before, tried), expected)


def test_one_sample_is_no_evidence() -> None:
    # A side of one sample turns from wrong to right.
    cells = cells_of([[50, 1], [1, 50]])
    before, after = answer(cells, [[1.0, 0.0], [0.0, 1.0]]), answer(cells, [[1.0, 1.0], [1.0, 1.0]])
    assert judge_of(cells).p_values(before, [after]).item() == pytest.approx(0.25, abs=0.05)


def test_many_networks_that_only_differ_are_rarely_better() -> None:
    """Without any true difference, at most 5 % of the verdicts may be wrong, however many networks are tried."""
    cells = cells_of([[120, 12], [6, 100]])
    groups, source = pair_sides(cells), generator(0)
    wrong, num_trials = 0, 300
    for _ in range(num_trials):
        # All networks are right with the same probability, each for its own samples in part.
        shared = torch.rand(len(cells), generator=source)
        own = torch.rand(13, len(cells), generator=source)
        right = torch.where(torch.rand(13, len(cells), generator=source) < 0.5, own, shared) < 0.7
        wrong += bool(
            (gain_p_values(right[0], right[1:], groups, num_permutations=99) <= SelectionConfig().significance).any()
        )
    # 5 % of 300 is 15, with a standard deviation of 3.8.
    assert wrong <= 15 + 2 * 3.8


@pytest.mark.parametrize(
    ("shares", "sizes", "expected"),
    [
        # Of 20 samples that conflict in class 0, the network calls 12 the other class.
        ([[0.9, 0.4], [0.9, 0.9]], [[80, 20], [20, 80]], True),
        # As often right as misled.
        ([[0.9, 0.5], [0.9, 0.9]], [[80, 20], [20, 80]], False),
        # It fails on the samples that do not conflict, for whatever reason.
        ([[0.2, 0.9], [0.9, 0.2]], [[80, 20], [20, 80]], False),
        # Nine samples are too few, and five in each of two classes are ten together.
        ([[0.9, 0.0], [0.9, 0.9]], [[80, 9], [20, 80]], False),
        ([[0.9, 0.0], [0.0, 0.9]], [[80, 5], [5, 80]], True),
    ],
)
def test_a_network_follows_the_pseudo_attribute(
    shares: list[list[float]], sizes: list[list[int]], expected: bool
) -> None:
    cells = cells_of(sizes)
    assert judge_of(cells).follows(answer(cells, shares)) == expected


def test_wrong_for_another_reason_is_not_following() -> None:
    # Three classes: what conflicts in class 0 is called class 2, which the pseudo-attribute does not stand for.
    cells = cells_of([[80, 20, 0], [0, 80, 0], [0, 0, 80]])
    logits = torch.nn.functional.one_hot(cells.labels, 3).float()
    logits[(cells.labels == 0) & (cells.attribute_ids == 1)] = torch.tensor([0.0, 0.0, 1.0])
    assert not judge_of(cells).follows(Answers(logits))
    logits[(cells.labels == 0) & (cells.attribute_ids == 1)] = torch.tensor([0.0, 1.0, 0.0])
    assert judge_of(cells).follows(Answers(logits))


def test_a_network_that_follows_is_replaced_by_one_with_a_higher_score_without_proof() -> None:
    cells = cells_of([[80, 5], [5, 80]])
    before, little = answer(cells, [[1.0, 0.0], [0.0, 1.0]]), answer(cells, [[1.0, 0.2], [0.2, 1.0]])
    decision = judge_of(cells).decide(before, [little, before])
    assert decision.replaces
    assert not decision.is_better
    assert decision.best is little
    # No candidate has a higher score.
    assert not judge_of(cells).decide(before, [before]).replaces
    # The same gain, where the network does not follow.
    rarely, hardly = answer(cells, [[1.0, 0.6], [0.6, 1.0]]), answer(cells, [[1.0, 0.8], [0.6, 1.0]])
    assert not judge_of(cells).decide(rarely, [hardly]).replaces


def test_only_the_samples_that_judge_are_looked_at() -> None:
    cells = cells_of([[40, 10], [10, 40]])
    of_half = make_judge(cells, SelectionConfig(), indices=torch.arange(0, 100, 2))
    found = answer(cells, [[0.9, 0.3], [0.4, 0.8]])
    spoiled = found.val_logits.clone()
    spoiled[1::2] = spoiled[1::2].flip(1)
    assert of_half.score(found) == of_half.score(Answers(spoiled))
    assert judge_of(cells).score(found) != judge_of(cells).score(Answers(spoiled))


def test_the_rule_decides_which_groups_judge() -> None:
    cells, group_ids = cells_of([[40, 10], [10, 40]]), torch.arange(100) % 4

    def sizes(rule: str) -> tuple[str, list[int]]:
        config = SelectionConfig(rule=rule)  # type: ignore[arg-type]
        judge = make_judge(cells, config, group_ids=group_ids)
        return judge.kind, judge.groups.sizes.tolist()

    assert sizes("pseudo-groups") == ("cells", [40, 10, 40, 10])
    assert sizes("class-accuracy") == ("classes", [50, 50])
    assert sizes("validation-groups") == ("groups", [25] * 4)


@pytest.mark.parametrize(("shares", "expected"), [((0.9, 0.3), True), ((0.9, 0.9), False), ((1.0, 1.0), False)])
def test_accuracies_differ_beyond_chance(shares: tuple[float, float], expected: bool) -> None:
    cells = cells_of([[90, 20], [20, 90]])
    assert judge_of(cells).groups_differ(answer(cells, [list(shares), list(shares)[::-1]])) == expected


def test_the_test_of_differing_accuracies_is_pearsons() -> None:
    cells = cells_of([[90, 20], [20, 90]])
    level = SelectionConfig().significance
    for share in (0.60, 0.62, 0.65, 0.70, 0.75, 0.8):
        found = answer(cells, [[0.85, share], [share, 0.85]])
        right: Tensor = found.val_logits.argmax(dim=1) == cells.labels
        groups = pair_sides(cells)
        table = [[int((right & (groups.ids == g)).sum()), int((~right & (groups.ids == g)).sum())] for g in range(4)]
        p_value = chi2_contingency(table, correction=False).pvalue
        assert judge_of(cells).groups_differ(found) == (p_value <= level)
