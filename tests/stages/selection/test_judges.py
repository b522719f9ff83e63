from dataclasses import replace

import pytest
import torch
from torch import Tensor

from prusc.config import SelectionConfig
from prusc.stages.pseudo_attributes.clustering import given_clustering
from prusc.stages.selection.judges import (
    Answers,
    SelectionScore,
    cells_improved,
    choose,
    describe_selection,
    explain_no_gain,
    make_pseudo_groups,
    measure_cells,
    score_answers,
)
from tests.networks import generator

CONFIG = SelectionConfig()


def cells(sizes: list[list[int]]) -> tuple[Tensor, Tensor]:
    """Labels and cluster ids of cells of these sizes [class][cluster], in mixed order."""
    labels = torch.cat([torch.full((sum(row),), label) for label, row in enumerate(sizes)])
    cluster_ids = torch.cat([torch.full((size,), cluster) for row in sizes for cluster, size in enumerate(row)])
    order = torch.randperm(len(labels), generator=generator(0))
    return labels[order], cluster_ids[order]


def answer(labels: Tensor, cluster_ids: Tensor, accuracy: list[list[float]]) -> Answers:
    """Answers that are right for just this share of each cell [class][cluster]."""
    predictions = labels.clone()
    for label, row in enumerate(accuracy):
        for cluster, share in enumerate(row):
            inside = ((labels == label) & (cluster_ids == cluster)).nonzero()[:, 0]
            wrong = inside[round(share * len(inside)) :]
            predictions[wrong] = 1 - label
    return Answers(predictions)


def test_the_cells_of_a_class_are_put_together_by_whether_they_conflict() -> None:
    # Class 0 is half of all samples: it is rarer than that in cluster 1 and in cluster 3, class 1 in cluster 0.
    sizes = [[50, 4, 30, 3], [9, 60, 30, 6], [1, 1, 0, 0]]
    labels, cluster_ids = cells(sizes)
    groups = make_pseudo_groups(labels, cluster_ids)
    class_sizes, cluster_sizes = [sum(row) for row in sizes], [sum(column) for column in zip(*sizes, strict=True)]
    expected: dict[tuple[int, bool], list[int]] = {}
    for label, row in enumerate(sizes):
        for cluster, size in enumerate(row):
            side = size / cluster_sizes[cluster] < class_sizes[label] / len(labels)
            if size:
                expected.setdefault((label, side), []).append(size)
    found = {
        (int(labels[groups.ids == i][0]), bool(groups.conflicting[i])): (int(groups.sizes[i]), int(groups.num_cells[i]))
        for i in range(len(groups.sizes))
    }
    assert found == {key: (sum(members), len(members)) for key, members in expected.items()}
    assert torch.equal(torch.bincount(groups.ids), groups.sizes)


def test_a_cell_that_is_as_frequent_as_expected_does_not_conflict() -> None:
    labels, cluster_ids = cells([[30, 70, 11], [30, 70, 11], [30, 70, 11]])
    assert not make_pseudo_groups(labels, cluster_ids).conflicting.any()


def test_the_score_is_the_lowest_accuracy_drawn_towards_the_mean_of_its_side() -> None:
    labels, cluster_ids = cells([[100, 20], [20, 100]])
    accuracy = [[1.0, 0.25], [0.5, 0.9]]
    config = SelectionConfig(prior_strength=5)
    groups = make_pseudo_groups(labels, cluster_ids)
    found = score_answers(answer(labels, cluster_ids, accuracy), labels, groups, config)
    mean = (0.25 + 0.5) / 2
    # A beta distribution that begins with 5 samples at the mean, and sees 5 right and 15 wrong ones.
    right, wrong = 5 * mean + 5, 5 * (1 - mean) + 15
    assert found.score == pytest.approx(right / (right + wrong))
    variance = right * wrong / ((right + wrong) ** 2 * (right + wrong + 1))
    assert found.error == pytest.approx(variance**0.5)
    unsmoothed = SelectionConfig(prior_strength=0)
    answers = answer(labels, cluster_ids, accuracy)
    assert score_answers(answers, labels, groups, unsmoothed).score == pytest.approx(0.25)


def test_a_score_is_drawn_towards_what_is_expected_where_that_is_known() -> None:
    labels, cluster_ids = cells([[100, 20], [20, 100]])
    groups = make_pseudo_groups(labels, cluster_ids)
    answers = answer(labels, cluster_ids, [[1.0, 0.5], [0.5, 0.9]])
    # The same for the samples of a cell; a pseudo-group of several cells has the mean over its samples.
    expected = torch.where((labels == 0) & (cluster_ids == 1), 0.2, 0.9).double()
    config = SelectionConfig(prior_strength=5)
    found = score_answers(replace(answers, expected=expected), labels, groups, config)
    accuracy = (10 + 5 * 0.2) / 25
    assert found.error == pytest.approx((accuracy * (1 - accuracy) / 26) ** 0.5)
    assert found.score == pytest.approx(accuracy - 2 * found.error)
    # A cell that is better served in the mean, but that nobody knows, can be the worst one.
    few = answer(*cells([[100, 2], [20, 100]]), [[0.9, 1.0], [0.9, 0.9]])
    unknown = torch.full((222,), 0.8, dtype=torch.float64)
    labels, cluster_ids = cells([[100, 2], [20, 100]])
    found = score_answers(replace(few, expected=unknown), labels, make_pseudo_groups(labels, cluster_ids), config)
    accuracy = (2 + 5 * 0.8) / 7
    assert found.score == pytest.approx(accuracy - 2 * (accuracy * (1 - accuracy) / 8) ** 0.5)
    labels, cluster_ids = cells([[100, 20], [20, 100]])
    assert score_answers(answers, labels, groups, config).score == pytest.approx(0.5)


def test_classes_are_judged_by_their_mean() -> None:
    labels, cluster_ids = cells([[100, 20], [20, 60]])
    groups = make_pseudo_groups(labels, None)
    assert groups.kind == "classes"
    assert torch.equal(groups.sizes, torch.tensor([120, 80]))
    answers = answer(labels, cluster_ids, [[0.9, 0.9], [0.5, 0.5]])
    found = score_answers(answers, labels, groups, CONFIG)
    assert found.score == pytest.approx((0.9 + 0.5) / 2)
    assert found.error == pytest.approx((0.9 * 0.1 / 120 + 0.5 * 0.5 / 80) ** 0.5 / 2)


def test_the_plainest_of_those_that_score_as_well_is_chosen() -> None:
    scores = [SelectionScore(s, 0.02) for s in (0.80, 0.885, 0.90, 0.89)]
    assert choose(scores, tolerance=0.0) == 2
    assert choose(scores, tolerance=1.0) == 1
    assert choose(scores, tolerance=10.0) == 0
    assert choose([SelectionScore(0.5, 0.1)] * 3, tolerance=0.0) == 0


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
    labels, cluster_ids = cells([[950, 60], [60, 950]])
    found = cells_improved(
        before=answer(labels, cluster_ids, before),
        after=answer(labels, cluster_ids, after),
        labels=labels,
        pseudo_groups=make_pseudo_groups(labels, cluster_ids),
        num_candidates=20,
        config=CONFIG,
    )
    assert found == expected


@pytest.mark.parametrize(("shares", "verdict"), [([1.0, 0.4], "shortcut-only"), ([0.9, 0.6], "no-shortcut")])
def test_why_nothing_is_better(shares: list[float], verdict: str) -> None:
    # Guessing is right for half of the samples of two classes.
    labels, cluster_ids = cells([[950, 60], [60, 950]])
    predictions = answer(labels, cluster_ids, [shares, shares[::-1]]).predictions
    assert explain_no_gain(predictions, labels, pseudo_groups=make_pseudo_groups(labels, cluster_ids)) == verdict


def test_a_rise_that_the_luckiest_of_many_would_show_is_no_improvement() -> None:
    labels, cluster_ids = cells([[950, 50], [50, 950]])
    before = answer(labels, cluster_ids, [[0.9, 0.6], [0.6, 0.9]])
    after = answer(labels, cluster_ids, [[0.9, 0.68], [0.68, 0.9]])

    def is_better(num_candidates: int) -> bool:
        return cells_improved(
            before=before,
            after=after,
            labels=labels,
            pseudo_groups=make_pseudo_groups(labels, cluster_ids),
            num_candidates=num_candidates,
            config=CONFIG,
        )

    # Each cell's rise of 0.08 has an error of (0.08 * 0.92 / 50)**0.5, the mean over four cells one of 0.0136 at 0.04:
    # 2.95 errors, more than the 1.64 of one candidate or the 2.81 of twenty, less than the 3.29 of a hundred.
    assert [is_better(1), is_better(20), is_better(100)] == [True, True, False]


@pytest.mark.parametrize(("expected", "better"), [(0.5, True), (0.2, False)])
def test_where_an_accuracy_is_expected_the_lowest_has_to_rise_beyond_its_error(expected: float, better: bool) -> None:
    labels, cluster_ids = cells([[950, 10], [10, 950]])
    before = answer(labels, cluster_ids, [[0.99, 0.3], [0.3, 0.99]])
    # Large cells pay for it: the mean over the cells falls.
    after = answer(labels, cluster_ids, [[0.7, 0.9], [0.9, 0.7]])
    found = cells_improved(
        before=replace(before, expected=torch.full((len(labels),), 0.3, dtype=torch.float64)),
        after=replace(after, expected=torch.full((len(labels),), expected, dtype=torch.float64)),
        labels=labels,
        pseudo_groups=make_pseudo_groups(labels, cluster_ids),
        num_candidates=20,
        config=CONFIG,
    )
    # From 6 of 20, with an error of 0.1, to 14 or 11 of 20, with one of 0.1 or 0.109: 2.83 or 1.69 errors.
    assert found == better


def test_cells_that_were_put_together_count_as_many() -> None:
    # Four classes with a cluster each: three cells of each class conflict. What they gain, 4/9, is less than the 1/2
    # that the large ones lose, and they are three to one.
    def of_each(large: float, small: float) -> list[list[float]]:
        return [[large if label == cluster else small for cluster in range(4)] for label in range(4)]

    labels, cluster_ids = cells([[int(size) for size in row] for row in of_each(400, 9)])
    groups = make_pseudo_groups(labels, cluster_ids)
    assert sorted(groups.num_cells.tolist()) == [1] * 4 + [3] * 4
    found = [
        cells_improved(
            before=answer(labels, cluster_ids, of_each(1.0, 0.0)),
            after=answer(labels, cluster_ids, of_each(0.5, 4 / 9)),
            labels=labels,
            pseudo_groups=replace(groups, num_cells=num_cells),
            num_candidates=20,
            config=CONFIG,
        )
        for num_cells in (groups.num_cells, torch.ones_like(groups.num_cells))
    ]
    assert found == [True, False]


def test_cells_are_compared_one_by_one() -> None:
    labels, cluster_ids = cells([[40, 10], [0, 20]])
    before = answer(labels, cluster_ids, [[1.0, 0.2], [0.0, 0.5]]).predictions
    after = answer(labels, cluster_ids, [[0.9, 0.7], [0.0, 0.75]]).predictions
    found = measure_cells(before=before, after=after, labels=labels, cluster_ids=cluster_ids)
    assert [(c.label, c.cluster, c.num_samples, c.before, c.after) for c in found] == [
        (0, 0, 40, 1.0, 0.9),
        (1, 1, 20, 0.5, 0.75),
        (0, 1, 10, 0.2, 0.7),
    ]


def test_untrained_clusters_change_what_is_said_of_the_rule_and_only_prusc_has_subnetworks() -> None:
    trained = given_clustering(torch.randn(10, 3, generator=generator()), torch.arange(10) % 2)
    untrained = replace(trained, structure="untrained")
    plain, ours = (describe_selection("pseudo-groups", clustering) for clustering in (trained, untrained))
    assert "the whole network then comes before a subnetwork" in ours
    assert "then comes before" not in plain
    of_settings = describe_selection("pseudo-groups", untrained, of_settings=True)
    assert "the cells are asked first" in of_settings
    assert "subnetwork" not in of_settings
    held_out = describe_selection("pseudo-groups", untrained, held_out_heads=True)
    assert held_out.startswith(ours)
    assert "fitted on validation samples" in held_out
    assert "validation samples, each" not in ours
    for rule in ("class-accuracy", "validation-groups"):
        assert describe_selection(rule, untrained) == describe_selection(rule, trained)
