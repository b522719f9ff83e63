import pytest
import torch

from prusc.stages.selection.scores import measure_cells, pair_sides, score_network, take_classes, take_groups
from tests.stages.selection.candidates import answer, cells_of


def test_each_class_has_a_side_that_conflicts() -> None:
    # Class 0 is half of all samples: it is rarer than that in cluster 1 and in cluster 3, class 1 in cluster 0.
    sizes = [[500, 40, 300, 30], [90, 600, 300, 60], [10, 10, 0, 0]]
    cells = cells_of(sizes)
    labels, groups = cells.labels, pair_sides(cells)
    class_sizes, cluster_sizes = [sum(row) for row in sizes], [sum(column) for column in zip(*sizes, strict=True)]
    expected: dict[tuple[int, bool], int] = {}
    for label, row in enumerate(sizes):
        for cluster, size in enumerate(row):
            conflicts = size / cluster_sizes[cluster] < class_sizes[label] / len(labels)
            if size:
                expected[label, conflicts] = expected.get((label, conflicts), 0) + size
    found = {}
    for group, size in enumerate(groups.sizes.tolist()):
        inside = groups.ids == group
        assert len(labels[inside].unique()) == 1
        label, cluster = int(labels[inside][0]), int(cells.attribute_ids[inside][0])
        conflicts = sizes[label][cluster] / cluster_sizes[cluster] < class_sizes[label] / len(labels)
        found[label, conflicts] = size
    assert found == expected
    assert torch.equal(torch.bincount(groups.ids), groups.sizes)


def test_a_cell_that_is_as_frequent_as_expected_does_not_conflict() -> None:
    assert len(pair_sides(cells_of([[30, 70, 11], [30, 70, 11], [30, 70, 11]])).sizes) == 3


def test_small_sides_that_conflict_are_judged_as_one() -> None:
    # The sides that conflict have 9, 12, 5 and 3 samples; the last class has few samples in all.
    cells = cells_of([[91, 3, 3, 3], [4, 88, 4, 4], [2, 2, 95, 1], [1, 1, 1, 9]])
    groups = pair_sides(cells)
    assert sorted(groups.sizes.tolist()) == [9, 12, 17, 88, 91, 95]
    assert groups.sizes[-1] == 17
    assert groups.shares.tolist() == pytest.approx([1 / 8] * 5 + [3 / 8])
    assert groups.ids[(cells.attribute_ids != cells.labels) & (cells.labels != 1)].unique().tolist() == [5]


def test_one_small_side_stays_what_it_is() -> None:
    assert sorted(pair_sides(cells_of([[40, 4], [20, 40]])).sizes.tolist()) == [4, 20, 40, 40]


def test_the_score_is_the_mean_of_the_mean_and_of_the_worst() -> None:
    cells = cells_of([[100, 20], [20, 100]])
    groups = pair_sides(cells)
    right = answer(cells, [[1.0, 0.25], [0.5, 0.9]]).val_logits.argmax(dim=1) == cells.labels
    found = score_network(right, groups)
    assert found.score == pytest.approx((0.6625 + 0.25) / 2)
    # The worst side has half of its own and an eighth of the mean.
    variances = {0.25: 0.25 * 0.75 / 20, 0.5: 0.5 * 0.5 / 20, 0.9: 0.9 * 0.1 / 100}
    error = ((0.5 + 0.125) ** 2 * variances[0.25] + 0.125**2 * (variances[0.5] + variances[0.9])) ** 0.5
    assert found.error == pytest.approx(error)


def test_each_class_counts_alike_however_many_sides_it_has() -> None:
    # The classes have one side, two sides, and one.
    labels = torch.tensor([0] * 10 + [1] * 10 + [2] * 10)
    groups = take_groups(torch.tensor([0] * 10 + [1] * 2 + [2] * 8 + [3] * 10), labels)
    assert groups.shares.tolist() == pytest.approx([1 / 3, 1 / 6, 1 / 6, 1 / 3])
    assert take_classes(labels).shares.tolist() == pytest.approx([1 / 3] * 3)


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
