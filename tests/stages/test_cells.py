import pytest
import torch

from prusc.errors import DataError
from prusc.stages.cells import Cells, find_conflicting, make_cells
from prusc.stages.pseudo_attributes.infer import take_given_attribute
from tests.networks import generator, striped_data


def test_cells_are_numbered_row_by_row() -> None:
    cells = Cells(torch.tensor([0, 0, 1, 2]), torch.tensor([0, 2, 1, 0]))
    assert (cells.num_classes, cells.num_values) == (3, 3)
    assert cells.ids.tolist() == [0, 2, 4, 6]
    assert Cells(cells.labels, cells.attribute_ids, num_values=5).ids.tolist() == [0, 2, 6, 10]
    assert repr(cells) == "Cells(4 samples, 3 classes x 3 values)"


def test_a_subset_keeps_the_numbers_of_classes_and_values() -> None:
    cells = Cells(torch.tensor([0, 1, 2]), torch.tensor([3, 0, 1]))
    part = cells.subset(torch.tensor([2, 0]))
    assert (part.num_classes, part.num_values) == (3, 4)
    assert (part.labels.tolist(), part.attribute_ids.tolist()) == ([2, 0], [1, 3])


@pytest.mark.parametrize(
    ("labels", "values", "options", "message"),
    [
        ([0, 3], [0, 1], {"num_classes": 3}, "3 at index 1 is out of range; num_classes 3 allows 0..2"),
        ([0, 1], [-1, 1], {}, "-1 at index 0 is out of range; num_values"),
    ],
)
def test_what_is_no_cell_is_refused(
    labels: list[int], values: list[int], options: dict[str, int], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        Cells(torch.tensor(labels), torch.tensor(values), **options)


def test_every_sample_needs_a_class_and_a_value() -> None:
    cells = Cells(torch.tensor([0, 1]), torch.tensor([0, 1]))
    # As it is where nobody checks shapes.
    object.__setattr__(cells, "attribute_ids", torch.tensor([0, 1, 1]))
    with pytest.raises(DataError, match="2 labels and 3 values"):
        cells.__post_init__()


def test_the_cells_of_a_split_have_its_classes_and_its_part_of_the_pseudo_attribute() -> None:
    data = striped_data(12)
    seen = {name: torch.randn(12, 4, generator=generator(seed)) for seed, name in enumerate(("train", "val"))}
    attribute = take_given_attribute(seen, torch.arange(12) % 4)
    train, val = (make_cells(attribute, data, name) for name in ("train", "val"))
    assert train.attribute_ids.tolist() == [0, 1, 2, 3] * 3
    assert torch.equal(val.attribute_ids, attribute.clustering.assign(seen["val"]))
    assert torch.equal(val.labels, data.val.labels)
    assert (val.num_classes, val.num_values) == (3, 4)


@pytest.mark.parametrize("seed", range(5))
def test_samples_conflict_where_their_class_is_rarer_than_among_all(seed: int) -> None:
    source = generator(seed)
    labels, values = (torch.randint(0, 3, (40,), generator=source) for _ in range(2))
    values = torch.where(torch.rand(40, generator=source) < 0.4, labels, values)
    found = find_conflicting(Cells(labels, values, num_classes=4, num_values=5)).tolist()
    pairs = list(zip(labels.tolist(), values.tolist(), strict=True))
    for (label, value), conflicts in zip(pairs, found, strict=True):
        at_value = [y for y, v in pairs if v == value]
        # In whole numbers, so that no rounding decides.
        assert conflicts == (at_value.count(label) * len(pairs) < labels.tolist().count(label) * len(at_value))
    assert 0 < sum(found) < 40


def test_nobody_conflicts_with_a_value_that_says_nothing() -> None:
    labels = torch.arange(12) % 3
    assert not find_conflicting(Cells(labels, torch.zeros(12, dtype=torch.long))).any()
    # Each class has each value as often, 7 times of 21 and so on, where floats are not exact.
    grid = torch.cartesian_prod(torch.arange(3), torch.arange(7)).repeat(3, 1)
    assert not find_conflicting(Cells(grid[:, 0], grid[:, 1])).any()
    assert find_conflicting(Cells(labels[:0], labels[:0])).tolist() == []
