from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prusc.data.listing import NO_SPLIT, Listing, Problem, Problems, number_values, sort_values
from prusc.errors import DataError


def make_listing() -> Listing:
    return Listing(
        name="pets",
        layout="table",
        root=Path("pets"),
        source="pets.csv",
        sample_ids=("a", "b", "c", "d"),
        images=(Path("a.png"), Path("b.png"), Path("c.png"), Path("d.png")),
        places=("row 2", "row 3", "row 4", "row 5"),
        labels=np.array([0, 1, 0, 1]),
        class_names=("cat", "dog"),
        splits=np.array([0, 1, 2, NO_SPLIT]),
        attributes=np.array([[0, 2], [1, 1], [0, 0], [1, 3]]),
        attribute_names=("place", "hour"),
        attribute_values=(("in", "out"), ("1", "2", "3", "4")),
        masks=(Path("a.mask.png"), None, Path("c.mask.png"), None),
        bundles=np.array([7, 7, 8, 9]),
        origin={"target": "pet"},
    )


def test_taking_samples_keeps_everything_of_each_together() -> None:
    listing = make_listing()
    taken = listing.take(np.array([3, 0, 3]))
    assert len(taken) == 3
    assert taken.sample_ids == ("d", "a", "d")
    assert taken.images == (Path("d.png"), Path("a.png"), Path("d.png"))
    assert taken.places == ("row 5", "row 2", "row 5")
    assert taken.labels.tolist() == [1, 0, 1]
    assert taken.splits.tolist() == [NO_SPLIT, 0, NO_SPLIT]
    assert taken.attributes.tolist() == [[1, 3], [0, 2], [1, 3]]
    assert taken.masks == (None, Path("a.mask.png"), None)
    assert taken.bundles is not None
    assert taken.bundles.tolist() == [9, 7, 9]
    for name in ("name", "root", "source", "class_names", "attribute_names", "attribute_values", "origin"):
        assert getattr(taken, name) == getattr(listing, name)
    assert listing.sample_ids == ("a", "b", "c", "d")


def test_what_is_not_there_is_not_taken() -> None:
    taken = replace(make_listing(), masks=None, bundles=None).take(np.array([1]))
    assert taken.masks is None
    assert taken.bundles is None


def test_a_listing_without_samples_is_refused() -> None:
    with pytest.raises(DataError, match=r"pets\.csv names no usable images; expected one for each sample"):
        make_listing().take(np.array([], dtype=np.int64))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["10", "9", "b"], ("10", "9", "b")),
        (["1.5", "10", "9"], ("1.5", "10", "9")),
        (["b", "B", "a", "ä"], ("B", "a", "b", "ä")),
        (["", "1"], ("", "1")),
        ([], ()),
    ],
)
def test_only_whole_numbers_are_sorted_as_numbers(values: list[str], expected: tuple[str, ...]) -> None:
    assert sort_values(values) == expected


def test_values_are_numbered_in_their_order_or_in_a_given_one() -> None:
    values = ["b", "a", "c", "a"]
    numbers, names = number_values(values)
    assert (numbers.tolist(), names) == ([1, 0, 2, 0], ("a", "b", "c"))
    numbers, names = number_values(iter(values), ["c", "never", "b", "a"])
    assert (numbers.tolist(), names) == ([2, 3, 0, 3], ("c", "never", "b", "a"))
    assert numbers.dtype == np.int64
    assert [names[number] for number in numbers] == values


def test_the_first_problem_stops_the_reader() -> None:
    problems = Problems()
    problems.note("ignored", "list.txt is ignored")
    with pytest.raises(DataError, match=r"^row 3 has no class$"):
        problems.add("label", "row 3 has no class")
    assert problems.found == []


def test_problems_are_collected_in_their_order() -> None:
    problems = Problems(collect=True)
    problems.add("label", "row 3 has no class")
    problems.note("ignored", "list.txt is ignored")
    problems.add("path", "row 4 leads out")
    assert problems.found == [
        Problem("label", "row 3 has no class"),
        Problem("ignored", "list.txt is ignored"),
        Problem("path", "row 4 leads out"),
    ]
