"""What each judge thinks of networks whose accuracy in every cell is known."""

from dataclasses import replace

import pytest
import torch

from prusc.config import SelectionConfig
from prusc.stages.selection import judges
from prusc.stages.selection.judges import CellJudge, ClassJudge, GroupJudge, UntrainedCellJudge, make_judges
from prusc.stages.selection.scores import number_groups, pair_cells
from tests.stages.selection.candidates import Answers, answer, attribute_of, cells_of, judge_by

CONFIG = SelectionConfig()


def test_the_score_is_the_lowest_accuracy_drawn_towards_the_mean_of_its_side() -> None:
    cells = cells_of([[100, 20], [20, 100]])
    accuracy = [[1.0, 0.25], [0.5, 0.9]]
    found = judge_by(CellJudge, cells, SelectionConfig(prior_strength=5)).score(answer(cells, accuracy))
    mean = (0.25 + 0.5) / 2
    # A beta distribution that begins with 5 samples at the mean, and sees 5 right and 15 wrong ones.
    right, wrong = 5 * mean + 5, 5 * (1 - mean) + 15
    assert found.score == pytest.approx(right / (right + wrong))
    variance = right * wrong / ((right + wrong) ** 2 * (right + wrong + 1))
    assert found.error == pytest.approx(variance**0.5)
    unsmoothed = judge_by(CellJudge, cells, SelectionConfig(prior_strength=0))
    assert unsmoothed.score(answer(cells, accuracy)).score == pytest.approx(0.25)


def test_a_score_is_drawn_towards_what_is_predicted_where_that_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = cells_of([[100, 20], [20, 100]])
    answers = answer(cells, [[1.0, 0.5], [0.5, 0.9]])
    # The same for the samples of a cell; a pseudo-group of several cells has the mean over its samples.
    expected = torch.where((cells.labels == 0) & (cells.attribute_ids == 1), 0.2, 0.9).double()
    monkeypatch.setattr(judges, "expected_accuracies", lambda *_: expected)
    config = SelectionConfig(prior_strength=5)
    found = judge_by(UntrainedCellJudge, cells, config).score(answers)
    accuracy = (10 + 5 * 0.2) / 25
    assert found.error == pytest.approx((accuracy * (1 - accuracy) / 26) ** 0.5)
    assert found.score == pytest.approx(accuracy - 2 * found.error)
    assert judge_by(CellJudge, cells, config).score(answers).score == pytest.approx(0.5)


def test_a_cell_that_nobody_knows_can_be_the_worst_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cells = cells_of([[100, 2], [20, 100]])
    monkeypatch.setattr(judges, "expected_accuracies", lambda *_: torch.full((222,), 0.8, dtype=torch.float64))
    judge = judge_by(UntrainedCellJudge, cells, SelectionConfig(prior_strength=5))
    found = judge.score(answer(cells, [[0.9, 1.0], [0.9, 0.9]]))
    accuracy = (2 + 5 * 0.8) / 7
    assert found.score == pytest.approx(accuracy - 2 * (accuracy * (1 - accuracy) / 8) ** 0.5)


def test_classes_are_judged_by_their_mean() -> None:
    cells = cells_of([[100, 20], [20, 60]])
    judge = judge_by(ClassJudge, cells)
    assert torch.equal(judge.groups.sizes, torch.tensor([120, 80]))
    found = judge.score(answer(cells, [[0.9, 0.9], [0.5, 0.5]]))
    assert found.score == pytest.approx((0.9 + 0.5) / 2)
    assert found.error == pytest.approx((0.9 * 0.1 / 120 + 0.5 * 0.5 / 80) ** 0.5 / 2)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        # The worst cells are served better.
        ([[0.99, 0.2], [0.2, 0.99]], [[0.85, 0.8], [0.8, 0.85]], True),
        # Better on average over the cells, but the worst one is worse.
        ([[0.8, 0.6], [0.6, 0.8]], [[0.9, 0.9], [0.5, 0.9]], False),
        # Nothing rose.
        ([[0.9, 0.85], [0.85, 0.9]], [[0.9, 0.85], [0.85, 0.9]], False),
    ],
)
def test_what_the_cells_call_better(before: list[list[float]], after: list[list[float]], expected: bool) -> None:
    cells = cells_of([[950, 60], [60, 950]])
    chosen = answer(cells, after)
    assert judge_by(CellJudge, cells).is_better(answer(cells, before), chosen, [chosen] * 20) == expected


@pytest.mark.parametrize(("shares", "verdict"), [([1.0, 0.4], "shortcut-only"), ([0.9, 0.6], "no-shortcut")])
def test_why_nothing_is_better(shares: list[float], verdict: str) -> None:
    # Guessing is right for half of the samples of two classes.
    cells = cells_of([[950, 60], [60, 950]])
    assert judge_by(CellJudge, cells).explain_no_gain(answer(cells, [shares, shares[::-1]])) == verdict


def test_a_rise_that_the_luckiest_of_many_would_show_is_no_improvement() -> None:
    cells = cells_of([[950, 50], [50, 950]])
    before, after = (answer(cells, [[0.9, share], [share, 0.9]]) for share in (0.6, 0.68))
    judge = judge_by(CellJudge, cells)
    # Each cell's rise of 0.08 has an error of (0.08 * 0.92 / 50)**0.5, the mean over four cells one of 0.0136 at 0.04:
    # 2.95 errors, more than the 1.64 of one candidate or the 2.81 of twenty, less than the 3.29 of a hundred.
    assert [judge.is_better(before, after, [after] * number) for number in (1, 20, 100)] == [True, True, False]


@pytest.mark.parametrize(("expected", "better"), [(0.5, True), (0.2, False)])
def test_where_an_accuracy_is_predicted_the_lowest_has_to_rise_beyond_its_error(
    expected: float, better: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    cells = cells_of([[950, 10], [10, 950]])
    before = answer(cells, [[0.99, 0.3], [0.3, 0.99]])
    # Large cells pay for it: the mean over the cells falls.
    after = answer(cells, [[0.7, 0.9], [0.9, 0.7]])

    def predict(logits: torch.Tensor, labels: torch.Tensor, cluster_ids: torch.Tensor) -> torch.Tensor:
        share = 0.3 if torch.equal(logits, before.val_logits) else expected
        return torch.full((len(labels),), share, dtype=torch.float64)

    monkeypatch.setattr(judges, "expected_accuracies", predict)
    # From 6 of 20, with an error of 0.1, to 14 or 11 of 20, with one of 0.1 or 0.109: 2.83 or 1.69 errors.
    assert judge_by(UntrainedCellJudge, cells).is_better(before, after, [after] * 20) == better


def test_cells_that_were_put_together_count_as_many() -> None:
    # Four classes with a cluster each: three cells of each class conflict. What they gain, 4/9, is less than the 1/2
    # that the large ones lose, and they are three to one.
    def of_each(large: float, small: float) -> list[list[float]]:
        return [[large if label == cluster else small for cluster in range(4)] for label in range(4)]

    cells = cells_of([[int(size) for size in row] for row in of_each(400, 9)])
    judge = judge_by(CellJudge, cells)
    assert sorted(judge.groups.num_cells.tolist()) == [1] * 4 + [3] * 4
    before, after = answer(cells, of_each(1.0, 0.0)), answer(cells, of_each(0.5, 4 / 9))
    alike = replace(judge, groups=replace(judge.groups, num_cells=torch.ones_like(judge.groups.num_cells)))
    assert [one.is_better(before, after, [after] * 20) for one in (judge, alike)] == [True, False]


def test_only_the_samples_that_judge_are_looked_at() -> None:
    cells = cells_of([[40, 10], [10, 40]])
    judge = judge_by(CellJudge, cells)
    half = torch.arange(0, 100, 2)
    part = cells.subset(half)
    of_half = CellJudge(half, part, pair_cells(part), CONFIG)
    found = answer(cells, [[0.9, 0.3], [0.4, 0.8]])
    spoiled = found.val_logits.clone()
    spoiled[1::2] = spoiled[1::2].flip(1)
    assert of_half.score(found) == of_half.score(Answers(spoiled))
    assert judge.score(found) != judge.score(Answers(spoiled))


def test_who_judges_depends_on_the_rule_and_on_the_structure() -> None:
    cells, everybody = cells_of([[40, 10], [10, 40]]), torch.arange(100)

    def kinds(structure: str, rule: str) -> list[type]:
        groups = torch.arange(100) % 4
        config = SelectionConfig(rule=rule)  # type: ignore[arg-type]
        found = make_judges(cells, attribute_of(cells, structure), config, indices=everybody, group_ids=groups)
        return [type(judge) for judge in found]

    assert kinds("strong", "pseudo-groups") == kinds("reasonable", "pseudo-groups") == [CellJudge, ClassJudge]
    assert kinds("untrained", "pseudo-groups") == [UntrainedCellJudge, ClassJudge]
    assert kinds("weak", "pseudo-groups") == kinds("strong", "class-accuracy") == [ClassJudge]
    # True groups, where they judge, are no cells, whatever the clusters are.
    assert kinds("untrained", "validation-groups") == kinds("strong", "validation-groups") == [GroupJudge]
    assert GroupJudge(everybody, cells, number_groups(everybody % 4), CONFIG).tolerance == 0.0
