from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prusc.data.listing import NO_SPLIT, Listing, Problem, Problems
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


def test_notes_are_logged_by_kind_and_unused_images_are_warned_of_without_a_log() -> None:
    problems, said = Problems(), []
    for number in range(3):
        problems.note("unused", f"{number} images")
    problems.note("ignored", "list.txt is ignored")
    problems.remark("masks are no class")
    problems.report_notes(said.append)
    assert said == [
        "data: unused: 0 images (and 2 more; prusc check lists them)",
        "data: ignored: list.txt is ignored",
        "data: masks are no class",
    ]
    with pytest.warns(UserWarning, match="0 images") as warned:
        problems.report_notes(None)
    assert len(warned) == 1


def test_collected_problems_are_refused_together() -> None:
    problems = Problems(collect=True)
    problems.refuse("pets.csv")
    for number in range(5):
        problems.add("label", f"row {number}")
    with pytest.raises(DataError, match=r"^row 0; row 1; row 2; and 2 more, which .* \(from pets.csv\)$"):
        problems.refuse("pets.csv")
