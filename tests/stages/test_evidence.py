"""Evidence against twins of its own, and what it says of data where nothing is wrong."""

from dataclasses import replace
from math import sqrt

import pytest
import torch
from scipy.stats import chi2_contingency, norm
from torch import Tensor

from prusc.stages.cells import Cells, find_conflicting
from prusc.stages.evidence import (
    choose_source,
    conflict_statistic,
    describe_evidence,
    measure_evidence,
)
from prusc.stages.pseudo_attributes.attribute import Evidence
from tests.networks import generator
from tests.reference import evidence as reference

ACCURACIES = torch.tensor([0.9, 0.6, 0.8])


def make_cells(number: int, source: torch.Generator, num_conflicts: float = 0.2) -> Cells:
    """Classes of unlike sizes, and a pseudo-attribute that mostly agrees with them."""
    labels = torch.multinomial(torch.tensor([0.5, 0.3, 0.2]), number, replacement=True, generator=source)
    conflicts = torch.rand(number, generator=source) < num_conflicts
    shift = torch.randint(1, 3, (number,), generator=source)
    return Cells(labels, torch.where(conflicts, (labels + shift) % 3, labels), num_classes=3, num_values=3)


def predict(cells: Cells, accuracies: Tensor, source: torch.Generator) -> Tensor:
    """Predictions that are right with these probabilities, one a sample."""
    right = torch.rand(len(cells), generator=source) < accuracies
    return torch.where(right, cells.labels, (cells.labels + 1) % 3)


def measure(loss: float, seed: int = 0, number: int = 300) -> tuple[Evidence, Cells, Tensor]:
    """Evidence for a network that is so much worse on what conflicts, with its cells and predictions."""
    source = generator(seed)
    cells = make_cells(number, source)
    predictions = predict(cells, ACCURACIES[cells.labels] - loss * find_conflicting(cells), source)
    return measure_evidence("made", predictions, cells), cells, predictions


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("loss", "number"), [(0.0, 300), (0.5, 300), (-0.1, 300), (0.3, 12)])
def test_statistic_gap_and_interval_equal_those_of_slow_twins(loss: float, number: int, seed: int) -> None:
    found, cells, predictions = measure(loss, seed, number)
    right, conflicting = predictions == cells.labels, find_conflicting(cells)
    rows = right.tolist(), conflicting.tolist(), cells.labels.tolist()
    assert found.num_conflicting == sum(rows[1])
    assert found.statistic == pytest.approx(reference.conflict_statistic(*rows), abs=1e-9)
    assert found.p_value == pytest.approx(float(norm.sf(found.statistic)))
    expected = reference.measure_gap(*rows)
    assert expected is not None
    assert found.gap == pytest.approx(expected[0], abs=1e-9)
    assert found.gap_ci95 == pytest.approx(expected[1], abs=1e-6)


def test_in_a_single_class_it_is_pearsons_test() -> None:
    right = torch.tensor([True] * 70 + [False] * 10 + [True] * 12 + [False] * 8)
    conflicting = torch.arange(100) >= 80
    found = conflict_statistic(right, conflicting, torch.zeros(100, dtype=torch.long))
    # Cochran's variance has N - 1 where Pearson's has N.
    pearson = chi2_contingency([[70, 10], [12, 8]], correction=False).statistic
    assert found == pytest.approx(sqrt(pearson * 99 / 100))
    # The other way round it is as far from 0, on the other side.
    assert conflict_statistic(right, ~conflicting, torch.zeros(100, dtype=torch.long)) == pytest.approx(-found)


def test_classes_that_differ_are_no_evidence() -> None:
    # The hard class has most of the conflicts; in no class do mistakes depend on them.
    labels = torch.tensor([0] * 200 + [1] * 200)
    conflicting = torch.tensor(([True] * 20 + [False] * 180) + ([True] * 100 + [False] * 100))
    right = torch.ones(400, dtype=torch.bool)
    right[200:] = torch.arange(200) % 2 == 0
    assert conflict_statistic(right, conflicting, labels) == 0
    assert conflict_statistic(right, conflicting, torch.zeros_like(labels)) > 3


def test_false_alarms_are_as_rare_as_the_level_says() -> None:
    p_values = []
    for seed in range(200):
        source = generator(seed)
        cells = make_cells(300, source)
        p_values.append(measure_evidence("made", predict(cells, ACCURACIES[cells.labels], source), cells).p_value)
    # 10 are expected; the bounds are two and a half standard deviations away.
    assert 4 <= sum(p <= 0.05 for p in p_values) <= 18
    assert 70 <= sum(p <= 0.5 for p in p_values) <= 130


def test_the_interval_covers_the_gap() -> None:
    covered = 0
    for seed in range(200):
        source = generator(seed)
        cells = make_cells(300, source)
        conflicting = find_conflicting(cells)
        predictions = predict(cells, torch.where(conflicting, 0.5, 0.8), source)
        interval = measure_evidence("made", predictions, cells).gap_ci95
        assert interval is not None
        covered += interval[0] <= 0.3 <= interval[1]
    assert covered >= 182, "95 % of 200 minus two and a half standard deviations"


def test_a_shortcut_is_seen_and_described() -> None:
    found, *_ = measure(0.5)
    assert found.p_value < 1e-6
    assert found.gap is not None
    assert found.gap_ci95 is not None
    low, high = found.gap_ci95
    assert low < found.gap < high
    assert describe_evidence(found) == (
        f"the network is {100 * found.gap:.1f} points (95 % CI {100 * low:.1f} to {100 * high:.1f}) worse on the "
        f"{found.num_conflicting} validation samples that conflict with it (p {max(found.p_value, 1e-16):.2g})"
    )
    assert describe_evidence(replace(found, p_value=0.0)).endswith("(p 1e-16)")


@pytest.mark.parametrize("wrong", [False, True])
def test_where_nobody_conflicts_or_all_are_right_there_is_nothing_to_see(wrong: bool) -> None:
    labels = torch.arange(30) % 2
    constant = Cells(labels, torch.zeros(30, dtype=torch.long))
    predictions = torch.where(torch.arange(30) < 9, 1 - labels, labels) if wrong else labels
    found = measure_evidence("made", predictions, constant)
    assert found == Evidence("made", 0, None, None, 0.0, 0.5)
    assert describe_evidence(found) == "no validation sample conflicts with it"
    agreeing = Cells(labels, torch.where(torch.arange(30) < 6, 1 - labels, labels))
    perfect = measure_evidence("made", labels, agreeing)
    assert (perfect.num_conflicting, perfect.gap, perfect.statistic, perfect.p_value) == (6, 0.0, 0.0, 0.5)


def test_the_source_with_the_largest_statistic_is_chosen_and_of_equal_ones_the_first() -> None:
    def evidence(statistic: float) -> Evidence:
        return Evidence("made", 10, 0.1, (0.0, 0.2), statistic, 0.5)

    assert choose_source({"linear": evidence(2.0), "clusters": evidence(3.0)}) == "clusters"
    assert choose_source({"linear": evidence(2.0), "clusters": evidence(-9.0)}) == "linear"
    assert choose_source({"linear": evidence(0.0), "clusters": evidence(0.0)}) == "linear"
