import dataclasses

import pytest
import torch
from torch import Tensor

from prusc.data.table import Data, Split
from prusc.stages.evaluation import GroupEvaluation, evaluate_groups, wilson_interval
from tests.networks import generator, make_split
from tests.reference import group_metrics as reference

COLOURS, SIDES = ("red", "green", "blue"), ("left", "right")


def random_split(num_samples: int, seed: int, empty: tuple[int, int, int] | None = None) -> Split:
    source = generator(seed)
    labels = torch.randint(0, 2, (num_samples,), generator=source)
    attributes = torch.stack([torch.randint(0, n, (num_samples,), generator=source) for n in (3, 2)], dim=1)
    if empty is not None:
        inside = (labels == empty[0]) & (attributes == torch.tensor(empty[1:])).all(1)
        labels, attributes = labels[~inside], attributes[~inside]
    return make_split(torch.zeros(len(labels), 1), labels, attributes)


def make_data(*, empty: tuple[int, int, int] | None = None, seed: int = 0, with_attributes: bool = True) -> Data:
    data = Data(
        "groups",
        ("cat", "dog"),
        random_split(150, seed),
        random_split(40, seed + 1),
        random_split(200, seed + 2, empty),
        attribute_names=("colour", "side"),
        attribute_values=(COLOURS, SIDES),
    )
    if with_attributes:
        return data
    splits = {name: dataclasses.replace(split, attributes=None) for name, split in data.splits.items()}
    return dataclasses.replace(data, attribute_names=(), attribute_values=(), **splits)


def guesses(split: Split, seed: int = 9) -> Tensor:
    """Right for about three quarters."""
    wrong = torch.rand(len(split), generator=generator(seed)) < 0.25
    return torch.where(wrong, 1 - split.labels, split.labels)


def slow_accuracies(predictions: Tensor, split: Split, columns: list[int]) -> dict[tuple[int, ...], float]:
    assert split.attributes is not None
    groups = reference.groups_of(split.labels.tolist(), split.attributes[:, columns].tolist())
    return reference.group_accuracies(predictions.tolist(), split.labels.tolist(), groups)


def by_group(evaluation: GroupEvaluation) -> dict[tuple[str, ...], float | None]:
    return {(group.label, *group.attributes.values()): group.accuracy for group in evaluation.groups}


@pytest.mark.parametrize("empty", [None, (1, 2, 0)])
@pytest.mark.parametrize("columns", [[0, 1], [0], [1], []])
def test_it_equals_its_slow_twin(columns: list[int], empty: tuple[int, int, int] | None) -> None:
    data = make_data(empty=empty)
    predictions = guesses(data.test)
    found = evaluate_groups(predictions, data.test, data, combined=columns)
    expected = slow_accuracies(predictions, data.test, columns)
    names = [(("cat", "dog"), COLOURS, SIDES)[i] for i in (0, *(column + 1 for column in columns))]
    named = {tuple(n[i] for n, i in zip(names, group, strict=True)): value for group, value in expected.items()}
    assert {key: value for key, value in by_group(found).items() if value is not None} == pytest.approx(named)
    assert found.balanced_accuracy == pytest.approx(sum(expected.values()) / len(expected))
    assert found.worst_group_accuracy == pytest.approx(min(expected.values()))
    assert data.train.attributes is not None
    train_groups = reference.groups_of(data.train.labels.tolist(), data.train.attributes[:, columns].tolist())
    assert found.reweighted_accuracy == pytest.approx(reference.reweighted_accuracy(expected, train_groups))
    assert found.average_accuracy == pytest.approx((predictions == data.test.labels).float().mean().item())
    assert found.num_samples == len(data.test)


@pytest.mark.parametrize("columns", [[0, 1], [1], []])
def test_each_attribute_has_its_own_worst_group(columns: list[int]) -> None:
    data = make_data()
    predictions = guesses(data.test)
    found = evaluate_groups(predictions, data.test, data, combined=columns).attributes
    assert [attribute.name for attribute in found] == [("colour", "side")[column] for column in columns]
    for attribute, column in zip(found, columns, strict=True):
        expected = slow_accuracies(predictions, data.test, [column])
        assert attribute.worst_group_accuracy == pytest.approx(min(expected.values()))
        label, value = min(expected, key=lambda group: expected[group])
        assert attribute.worst_group.label == ("cat", "dog")[label]
        assert attribute.worst_group.attributes == {attribute.name: (COLOURS, SIDES)[column][value]}
        assert attribute.worst_group_ci95 == attribute.worst_group.ci95


@pytest.mark.parametrize("columns", [[0], [1], [0, 1]])
def test_the_means_over_aligned_and_conflicting_samples_equal_their_slow_twin(columns: list[int]) -> None:
    data = make_data()
    split, predictions = data.test, guesses(data.test)
    assert data.train.attributes is not None
    assert split.attributes is not None
    found = evaluate_groups(predictions, split, data, combined=columns)
    train_groups = reference.groups_of(data.train.labels.tolist(), data.train.attributes[:, columns].tolist())
    groups = reference.groups_of(split.labels.tolist(), split.attributes[:, columns].tolist())
    right = (predictions == split.labels).tolist()
    expected = reference.side_accuracies(right, groups, train_groups)
    assert (found.aligned_accuracy, found.conflicting_accuracy) == pytest.approx(expected)
    assert expected[0] != expected[1]


def test_the_figures_differ_from_each_other() -> None:
    # Else the test above could not tell them apart.
    data = make_data()
    found = evaluate_groups(guesses(data.test), data.test, data)
    figures = [
        found.average_accuracy, found.balanced_accuracy, found.reweighted_accuracy, found.worst_group_accuracy
    ]  # fmt: skip
    assert len({round(figure, 4) for figure in figures}) == 4


def test_all_attributes_make_the_groups_unless_told_otherwise() -> None:
    data = make_data()
    predictions = guesses(data.test)
    assert evaluate_groups(predictions, data.test, data) == evaluate_groups(
        predictions, data.test, data, combined=(0, 1)
    )
    found = evaluate_groups(predictions, data.test, data)
    assert len(found.groups) == 2 * 3 * 2
    assert [(group.label, group.attributes) for group in found.groups][:3] == [
        ("cat", {"colour": "red", "side": "left"}),
        ("cat", {"colour": "red", "side": "right"}),
        ("cat", {"colour": "green", "side": "left"}),
    ]
    assert sum(group.num_samples for group in found.groups) == len(data.test)


def test_an_empty_group_is_shown_without_an_accuracy_and_is_not_the_worst() -> None:
    data = make_data(empty=(1, 2, 0))
    found = evaluate_groups(guesses(data.test), data.test, data)
    assert len(found.groups) == 12
    (empty,) = [group for group in found.groups if group.num_samples == 0]
    assert (empty.label, empty.attributes) == ("dog", {"colour": "blue", "side": "left"})
    assert empty.accuracy is None
    assert empty.ci95 is None
    assert all(group.accuracy is not None and group.ci95 is not None for group in found.groups if group is not empty)
    assert found.worst_group_accuracy > 0


def test_each_interval_is_that_of_its_group() -> None:
    data = make_data()
    found = evaluate_groups(guesses(data.test), data.test, data)
    for group in found.groups:
        assert group.accuracy is not None
        expected = wilson_interval(round(group.accuracy * group.num_samples), group.num_samples)
        assert group.ci95 == expected
    (worst,) = [group for group in found.groups if group.accuracy == found.worst_group_accuracy][:1]
    assert found.worst_group_ci95 == worst.ci95


def test_without_attributes_the_groups_are_the_classes() -> None:
    data = make_data(with_attributes=False)
    predictions = guesses(data.test)
    found = evaluate_groups(predictions, data.test, data)
    assert [(group.label, group.attributes) for group in found.groups] == [("cat", {}), ("dog", {})]
    for label, group in enumerate(found.groups):
        assert group.accuracy == pytest.approx((predictions == label)[data.test.labels == label].float().mean().item())
    shares = torch.bincount(data.train.labels) / len(data.train)
    expected = sum(share.item() * (group.accuracy or 0) for share, group in zip(shares, found.groups, strict=True))
    assert found.reweighted_accuracy == pytest.approx(expected)


def test_training_samples_without_attributes_leave_the_average_as_it_is() -> None:
    data = make_data()
    data = dataclasses.replace(data, train=dataclasses.replace(data.train, attributes=None))
    found = evaluate_groups(guesses(data.test), data.test, data)
    assert found.reweighted_accuracy == pytest.approx(found.average_accuracy)


def test_perfect_and_hopeless_predictions() -> None:
    data = make_data()
    perfect = evaluate_groups(data.test.labels, data.test, data)
    hopeless = evaluate_groups(1 - data.test.labels, data.test, data)
    for evaluation, value in ((perfect, 1.0), (hopeless, 0.0)):
        assert set(by_group(evaluation).values()) == {value}
        assert evaluation.average_accuracy == evaluation.balanced_accuracy == evaluation.worst_group_accuracy == value
        assert evaluation.reweighted_accuracy == pytest.approx(value)


@pytest.mark.parametrize(
    ("num_right", "num_samples"), [(0, 1), (1, 1), (0, 10), (10, 10), (1, 10), (7, 13), (50, 100), (999, 1000)]
)
def test_the_wilson_interval_equals_its_slow_twin(num_right: int, num_samples: int) -> None:
    found = wilson_interval(num_right, num_samples)
    assert found == pytest.approx(reference.wilson_interval(num_right, num_samples), abs=1e-9)
    assert 0 <= found[0] <= num_right / num_samples + 1e-12
    assert num_right / num_samples - 1e-12 <= found[1] <= 1


def test_a_wilson_interval_from_the_literature() -> None:
    # Newcombe 1998, Statistics in Medicine 17, table I, method 3: 81 of 263 and 15 of 148.
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)


def test_more_confidence_is_a_wider_interval() -> None:
    narrow, wide = wilson_interval(7, 20, confidence=0.5), wilson_interval(7, 20, confidence=0.99)
    assert wide[0] < narrow[0] < narrow[1] < wide[1]
