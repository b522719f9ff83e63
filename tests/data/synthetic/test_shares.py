import numpy as np
import pytest

from prusc.data.synthetic.shares import check_conflicts, check_share, count_values, draw_attributes, flip_share
from prusc.errors import ConfigError


@pytest.mark.parametrize(
    ("own", "num_samples", "aligned_share", "num_values", "expected"),
    [
        (0, 10, 0.7, 4, [7, 1, 1, 1]),
        (2, 10, 0.5, 4, [2, 1, 5, 2]),
        (3, 7, 1.0, 4, [0, 0, 0, 7]),
        (1, 2, 0.5, 2, [1, 1]),
        (0, 3, 0.1, 10, [0, 1, 1, 1, 0, 0, 0, 0, 0, 0]),
    ],
)
def test_counts_are_as_reckoned_by_hand(
    own: int, num_samples: int, aligned_share: float, num_values: int, expected: list[int]
) -> None:
    assert count_values(own, num_samples, aligned_share, num_values) == expected


@pytest.mark.parametrize("num_values", [2, 5, 10])
@pytest.mark.parametrize("num_samples", [1, 4, 9, 892, 1135])
def test_an_equal_share_gives_counts_that_differ_by_one_at_most(num_values: int, num_samples: int) -> None:
    counts = count_values(1, num_samples, 1 / num_values, num_values)
    assert sum(counts) == num_samples
    assert max(counts) - min(counts) <= 1


def test_attributes_have_exact_shares_in_each_class_and_lie_anywhere() -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(4), [400, 200, 100, 40]))
    attributes = draw_attributes(labels, 5, 0.9, np.random.default_rng(1))
    for label, size in enumerate([400, 200, 100, 40]):
        assert (attributes[labels == label] == label).sum() == round(0.9 * size)
    rows = np.flatnonzero(labels == 0)
    conflicting = attributes[rows] != 0
    assert 10 < conflicting[:200].sum() < 30


def test_exactly_the_share_of_each_part_is_flipped() -> None:
    within = np.repeat([0, 1], [80, 20])
    values = np.tile([0, 1], 50)
    flipped = flip_share(values, 0.25, within, np.random.default_rng(0))
    changed = flipped != values
    assert changed[within == 0].sum() == 20
    assert changed[within == 1].sum() == 5
    assert set(flipped.tolist()) == {0, 1}
    assert values.tolist() == np.tile([0, 1], 50).tolist()


@pytest.mark.parametrize("share", [-0.1, 0.91, float("nan")])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"conflict_share is .*; expected a share from 0 to 0\.9 \(independent\)"):
        check_share("conflict_share", share, 0.9, "independent")


def test_a_share_of_no_image_is_refused() -> None:
    labels = np.repeat([0, 1], [200, 100])
    check_conflicts(labels, 0.0)
    check_conflicts(labels, 0.01)
    with pytest.raises(
        ConfigError, match=r"share of 0\.004 of the 100 training images .* rounds to no image; .* use more images"
    ):
        check_conflicts(labels, 0.004)
