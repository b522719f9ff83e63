"""What must hold for the samples of a data set together: one list of problems for checks, audits and runs."""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from prusc.data.images import Progress, map_in_threads
from prusc.data.listing import Listing, Problems
from prusc.data.regions import ImageRegions
from prusc.data.table import SPLIT_NAMES
from prusc.errors import DataError


def check_samples(listing: Listing, problems: Problems) -> None:
    """Report the splits without samples and the classes without training samples.

    Args:
        listing: The usable samples, with splits.
        problems: Receives the problems.
    """
    for label, name in enumerate(listing.class_names):
        if not ((listing.labels == label) & (listing.splits == 0)).any():
            where = [
                split
                for number, split in enumerate(SPLIT_NAMES)
                if ((listing.labels == label) & (listing.splits == number)).any()
            ]
            problems.add(
                "class",
                f"class {name!r} has no usable training image"
                + (f", yet images of {' and '.join(where)}" if where else "")
                + "; expected at least one: add some, or leave the class out",
            )
    for split, name in enumerate(SPLIT_NAMES):
        if not (listing.splits == split).any():
            problems.add("split", f"split {name} has no usable image; expected at least one")


def find_shared(listing: Listing, *, num_threads: int | None = None) -> dict[int, str]:
    """Find files with the same content in different splits, because a test image must not be a training image.

    Returns:
        The problem of each sample that an earlier one of another split repeats, by its index.
    """
    first: dict[bytes, int] = {}
    shared: dict[int, str] = {}
    candidates = _same_size(listing)
    digests = map_in_threads(lambda at: _digest(candidates[at][1]), len(candidates), num_threads=num_threads)
    for (index, _), digest in zip(candidates, digests, strict=True):
        if digest is None:
            continue
        other = first.setdefault(digest, index)
        if listing.splits[other] != listing.splits[index]:
            shared[index] = (
                f"{listing.sample_ids[index]} ({SPLIT_NAMES[listing.splits[index]]}) is the same file as "
                f"{listing.sample_ids[other]} ({SPLIT_NAMES[listing.splits[other]]}); expected different images in "
                "different splits: remove one of them"
            )
    return shared


def find_bad_masks(
    listing: Listing, size: int, *, num_threads: int | None = None, progress: Progress | None = None
) -> dict[int, str]:
    """Read every mask once, to find those that cannot be read.

    Returns:
        Error of each mask that cannot be read, by the index of its sample.
    """
    masked = [index for index, mask in enumerate(listing.masks or ()) if mask is not None]
    regions = ImageRegions(listing.images, listing.masks or (), size)

    def attempt(position: int) -> str | None:
        try:
            regions(masked[position])
        except DataError as error:
            return str(error)
        return None

    found = map_in_threads(attempt, len(masked), num_threads=num_threads, progress=progress)
    return {index: message for index, message in zip(masked, found, strict=True) if message is not None}


def _same_size(listing: Listing) -> list[tuple[int, Path]]:
    """Return the samples whose file has the size of one in another split; no other file can be the same."""
    sizes: dict[int, list[tuple[int, Path]]] = {}
    for index, path in _files(listing):
        try:
            sizes.setdefault(path.stat().st_size, []).append((index, path))
        except OSError:
            continue
    sizes.pop(0, None)  # Empty files cannot be read, which is reported elsewhere.
    groups = (group for group in sizes.values() if len({int(listing.splits[index]) for index, _ in group}) > 1)
    return sorted(member for group in groups for member in group)


def _files(listing: Listing) -> Iterator[tuple[int, Path]]:
    return ((index, Path(image)) for index, image in enumerate(listing.images) if isinstance(image, str | Path))


def _digest(path: Path) -> bytes | None:
    if not path.is_file():  # Reading a pipe would wait for ever.
        return None
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "blake2b").digest()
    except OSError:
        return None


def drop(listing: Listing, indices: Sequence[int]) -> Listing:
    """Return a listing without some of its samples."""
    return listing.take(np.setdiff1d(np.arange(len(listing)), list(indices)))
