import pytest
import torch

from prusc.stages.selection.scores import SelectionScore, find_plainest, mean_rise, measure_cells, pair_cells
from tests.stages.selection.candidates import answer, cells_of


def test_the_cells_of_a_class_are_put_together_by_whether_they_conflict() -> None:
    # Class 0 is half of all samples: it is rarer than that in cluster 1 and in cluster 3, class 1 in cluster 0.
    sizes = [[50, 4, 30, 3], [9, 60, 30, 6], [1, 1, 0, 0]]
    cells = cells_of(sizes)
    labels, groups = cells.labels, pair_cells(cells)
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
    assert not pair_cells(cells_of([[30, 70, 11], [30, 70, 11], [30, 70, 11]])).conflicting.any()


def test_the_plainest_of_those_that_score_as_well_is_chosen() -> None:
    scores = [SelectionScore(s, 0.02) for s in (0.80, 0.885, 0.90, 0.89)]
    assert find_plainest(scores, tolerance=0.0) == 2
    assert find_plainest(scores, tolerance=1.0) == 1
    assert find_plainest(scores, tolerance=10.0) == 0
    assert find_plainest([SelectionScore(0.5, 0.1)] * 3, tolerance=0.0) == 0


def test_cells_are_compared_one_by_one() -> None:
    cells = cells_of([[40, 10], [0, 20]])
    shares = [[1.0, 0.2], [0.0, 0.5]], [[0.9, 0.7], [0.0, 0.75]]
    before, after = (answer(cells, share).val_logits.argmax(dim=1) for share in shares)
    found = measure_cells(before, after, cells)
    assert [(c.label, c.cluster, c.num_samples, c.before, c.after) for c in found] == [
        (0, 0, 40, 1.0, 0.9),
        (1, 1, 20, 0.5, 0.75),
        (0, 1, 10, 0.2, 0.7),
    ]


def test_the_mean_rise_is_over_cells_and_its_error_that_of_paired_samples() -> None:
    cells = cells_of([[30, 10], [10, 50]])
    groups = pair_cells(cells)
    before, after = (
        answer(cells, share).val_logits.argmax(dim=1) == cells.labels
        for share in ([[1.0, 0.2], [0.5, 0.8]], [[0.9, 0.6], [0.5, 0.9]])
    )
    # Cell by cell, by hand: from 30 of 30 to 27, from 2 of 10 to 6, none, from 40 of 50 to 45.
    rises = [-0.1, 0.4, 0.0, 0.1]
    variances = [0.1 * 0.9 / 30, 0.4 * 0.6 / 10, 0.0, 0.1 * 0.9 / 50]
    rise, error = mean_rise(before, after, groups)
    assert rise == pytest.approx(sum(rises) / 4)
    assert error == pytest.approx((sum(variances) / 16) ** 0.5)
