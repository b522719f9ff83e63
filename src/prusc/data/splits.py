"""Splits: the names that tables give them, and how a missing one is made."""

from dataclasses import replace

import numpy as np

from prusc.data.holding_out import hold_out
from prusc.data.listing import NO_SPLIT, Listing, Problems
from prusc.data.table import SPLIT_NAMES
from prusc.errors import ConfigError, DataError

DEFAULT_SHARE = 0.2

_TRAIN, _VAL, _TEST = range(3)
_WORDS = (
    ("0", "train", "training", "tr"),
    ("1", "val", "valid", "validation", "dev", "va"),
    ("2", "test", "testing", "te"),
)
SPLIT_WORDS = {word: split for split, words in enumerate(_WORDS) for word in words}
"""Every accepted name of a split, in small letters, and its index into ``SPLIT_NAMES``."""


def fill_splits(listing: Listing, *, val_share: float, test_share: float, seed: int) -> tuple[Listing, tuple[str, ...]]:
    """Make the missing splits of a listing, from its training samples.

    If no sample has a split, all samples count as training samples. The held-out samples are stratified: each class
    gives the same share. Bundles stay whole.

    Args:
        listing: Samples with all splits, some of them or none.
        val_share: Share of the samples that become validation, if that split is missing.
        test_share: Share of the samples that become test, if that split is missing.
        seed: Seed of the choice.

    Returns:
        The listing with three splits, and the names of the splits that were made.

    Raises:
        ConfigError: If a share is not in (0, 1), or the shares leave nothing for training.
        DataError: If there are no training samples to take from.
    """
    for name, share in (("val_share", val_share), ("test_share", test_share)):
        if not 0 < share < 1:
            raise ConfigError(f"{name} is {share}; expected a share of the samples greater than 0 and less than 1")
    if val_share + test_share >= 1:
        raise ConfigError(f"val_share {val_share} and test_share {test_share} leave nothing for training; lower them")
    splits = np.where(listing.splits == NO_SPLIT, _TRAIN, listing.splits)
    present = set(splits.tolist())
    if _TRAIN not in present:
        raise DataError(f"{listing.source} names no training samples; expected at least one")
    missing = [split for split in (_TEST, _VAL) if split not in present]
    rng = np.random.default_rng(seed)
    num_samples = int((splits == _TRAIN).sum())
    for split in missing:
        share = test_share if split == _TEST else val_share
        pool = np.flatnonzero(splits == _TRAIN)
        # Shares count from all samples, and the test split may have been taken already.
        share *= num_samples / len(pool)
        bundles = np.arange(len(listing)) if listing.bundles is None else listing.bundles
        splits[pool[hold_out(listing.labels[pool], bundles[pool], share, rng)]] = split
    made = tuple(SPLIT_NAMES[split] for split in sorted(missing))
    return replace(listing, splits=splits), made


def check_bundles(listing: Listing, column: str, problems: Problems) -> None:
    """Report the bundles that the given splits divide.

    Args:
        listing: Samples with their splits.
        column: Name of the bundles, for the message.
        problems: Receives one problem per divided bundle.
    """
    if listing.bundles is None:
        return
    first: dict[int, int] = {}
    told: set[int] = set()
    for index, (bundle, split) in enumerate(zip(listing.bundles.tolist(), listing.splits.tolist(), strict=True)):
        other = first.setdefault(bundle, index)
        if listing.splits[other] != split and bundle not in told:
            told.add(bundle)
            problems.add(
                "shared",
                f"{listing.places[index]}: the split is {SPLIT_NAMES[split]}, yet {listing.places[other]} has the same "
                f"{column} and is in {SPLIT_NAMES[listing.splits[other]]}; expected all samples of one {column} in "
                "one split: correct the table, or leave the split column out (split_column none) to have splits made",
            )
