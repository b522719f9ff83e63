"""Formats of numbers and names, by eye."""

import pytest

from prusc.report.text import (
    duration,
    group_key,
    group_name,
    groups_by_key,
    interval,
    percent,
    plain,
    points,
    short,
)
from prusc.stages.evaluation import GroupAccuracy
from tests.report.evaluations import evaluation

SPACE = "\N{NO-BREAK SPACE}"


@pytest.mark.parametrize(
    ("value", "digits", "expected"),
    [(0.12345, 1, f"12.3{SPACE}%"), (1.0, 1, f"100.0{SPACE}%"), (0.5, 0, f"50{SPACE}%"), (None, 1, "–")],
)
def test_percentages(value: float | None, digits: int, expected: str) -> None:
    assert percent(value, digits) == expected


@pytest.mark.parametrize(
    ("limits", "expected"),
    [((0.1, 0.25), "10.0 to 25.0"), ((-0.1, 0.25), "−10.0 to 25.0"), (None, "")],
)
def test_intervals(limits: tuple[float, float] | None, expected: str) -> None:
    assert interval(limits) == expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0.5, 0.625, "+12.5"),
        (0.625, 0.5, "−12.5"),
        (0.5, 0.5, "±0.0"),
        (0.5, 0.5004, "±0.0"),  # rounds to no change
        (None, 0.5, "–"),
        (0.5, None, "–"),
    ],
)
def test_changes_in_points(before: float | None, after: float | None, expected: str) -> None:
    assert points(before, after) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (60, "1 min 0 s"),
        (125.4, "2 min 5 s"),
        (3_599, "59 min 59 s"),
        (7_500, "2 h 5 min"),
    ],
)
def test_durations(seconds: float, expected: str) -> None:
    assert duration(seconds) == expected


def test_an_attribute_is_named_unless_its_value_says_its_name() -> None:
    group = GroupAccuracy("waterbird", {"place": "land", "sticker": "no sticker"}, 3, 1.0, (0.4, 1.0))
    assert group_name(group) == "waterbird, place land, no sticker"
    assert group_key(group) == ("waterbird", (("place", "land"), ("sticker", "no sticker")))


def test_groups_are_found_by_class_and_attributes() -> None:
    found = evaluation({("cat", "in"): (4, 0.5), ("cat", "out"): (2, 1.0)})
    by_key = groups_by_key(found)
    assert list(by_key.values()) == list(found.groups)
    assert by_key["cat", (("place", "out"),)].num_samples == 2


def test_names_for_plotly_are_short_escaped_and_isolated() -> None:
    assert short("x" * 40) == "x" * 40
    assert short("x" * 41) == "x" * 39 + "…"
    assert plain("<b> & \n c") == "&lt;b&gt; &amp; c"
    assert plain("\u05d0\u05d1") == "\u2068\u05d0\u05d1\u2069"
