from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from prusc.data.holding_out import hold_out
from prusc.data.listing import NO_SPLIT, Listing, Problems
from prusc.data.splits import check_bundles, fill_splits
from prusc.errors import ConfigError, DataError


def make_listing(num_samples: int = 100, splits: list[int] | None = None, bundles: bool = False) -> Listing:
    """A tenth of class 1; two or three samples to a bundle, all of one class."""
    labels = (np.arange(num_samples) % 10 == 0).astype(np.int64)
    order = np.argsort(labels, kind="stable")
    numbers = np.empty(num_samples, dtype=np.int64)
    numbers[order] = np.arange(num_samples) * 2 // 5
    return Listing(
        "data",
        "table",
        Path(),
        "table.csv",
        tuple(map(str, range(num_samples))),
        tuple(f"{i}.png" for i in range(num_samples)),
        tuple(f"row {i}" for i in range(num_samples)),
        labels,
        ("a", "b"),
        np.array(splits or [NO_SPLIT] * num_samples, dtype=np.int64),
        np.zeros((num_samples, 0), dtype=np.int64),
        bundles=numbers if bundles else None,
    )


def test_all_splits_are_made_with_the_same_share_of_each_class() -> None:
    filled, made = fill_splits(make_listing(200), val_share=0.1, test_share=0.3, seed=0)
    assert made == ("val", "test")
    counts = [[int(((filled.splits == s) & (filled.labels == c)).sum()) for c in (0, 1)] for s in (0, 1, 2)]
    assert counts == [[108, 12], [18, 2], [54, 6]]


def test_a_seed_decides() -> None:
    first, again, other = (
        fill_splits(make_listing(), val_share=0.2, test_share=0.2, seed=seed)[0].splits for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("given", "missing"), [([0, 2], "val"), ([0, 1], "test")])
def test_one_missing_split_is_taken_from_training_alone(given: list[int], missing: str) -> None:
    listing = make_listing(splits=given * 50)
    filled, made = fill_splits(listing, val_share=0.2, test_share=0.2, seed=0)
    assert made == (missing,)
    changed = filled.splits != listing.splits
    assert set(listing.splits[changed]) == {0}
    assert changed.sum() == 10  # a fifth of the 50 training samples


def test_what_is_given_stays() -> None:
    listing = make_listing(splits=[0, 1, 2, 0] * 25)
    filled, made = fill_splits(listing, val_share=0.2, test_share=0.2, seed=0)
    assert made == ()
    assert np.array_equal(filled.splits, listing.splits)


def test_bundles_stay_whole_and_classes_keep_their_share() -> None:
    listing = make_listing(400, bundles=True)
    assert listing.bundles is not None
    filled, _ = fill_splits(listing, val_share=0.2, test_share=0.2, seed=3)
    for bundle in np.unique(listing.bundles):
        assert len(set(filled.splits[listing.bundles == bundle])) == 1
    for split in (1, 2):
        for label, number in ((0, 72), (1, 8)):
            assert abs(int(((filled.splits == split) & (filled.labels == label)).sum()) - number) <= 2
    # Without bundles the same draw divides some: the test can fail.
    alone, _ = fill_splits(replace(listing, bundles=None), val_share=0.2, test_share=0.2, seed=3)
    assert any(len(set(alone.splits[listing.bundles == b])) > 1 for b in np.unique(listing.bundles))


def test_a_small_class_is_in_each_part() -> None:
    chosen = hold_out(np.array([0] * 50 + [1, 1]), np.arange(52), 0.1, np.random.default_rng(0))
    assert chosen[50:].sum() == 1
    assert chosen[:50].sum() == 5


@pytest.mark.parametrize(
    ("shares", "message"),
    [((0.0, 0.2), "val_share is 0.0"), ((0.2, 1.0), "test_share is 1.0"), ((0.5, 0.5), "leave nothing for training")],
)
def test_shares_out_of_range_are_refused(shares: tuple[float, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        fill_splits(make_listing(), val_share=shares[0], test_share=shares[1], seed=0)


def test_without_training_samples_there_is_nothing_to_take() -> None:
    with pytest.raises(DataError, match=r"table\.csv names no training samples; expected at least one"):
        fill_splits(make_listing(2, [1, 2]), val_share=0.2, test_share=0.2, seed=0)


def test_a_bundle_in_two_splits_is_named_once() -> None:
    listing = replace(make_listing(4, [0, 1, 1, 2]), bundles=np.array([5, 5, 5, 6]))
    with pytest.raises(DataError, match="row 1: the split is val, yet row 0 has the same lesion_id and is in train"):
        check_bundles(listing, "lesion_id", Problems())
    problems = Problems(collect=True)
    check_bundles(listing, "lesion_id", problems)
    assert [problem.kind for problem in problems.found] == ["shared"]
