"""Images in different splits that are almost the same, by perceptual hashes (package imagehash)."""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prusc.data.consistency import find_shared
from prusc.data.images import decode_source, map_in_threads
from prusc.data.listing import Listing, Problems
from prusc.data.table import SPLIT_NAMES
from prusc.errors import ConfigError

# Number of the 64 bits that differ at most. Resizing, compression and slight changes of colour change fewer bits.
_MAX_DISTANCE = 4
# The hash of an image without structure says nothing.
_MIN_DEVIATION = 4.0
_NO_HASH = -1
_CHUNK = 2048


def make_hasher() -> Callable[[NDArray[np.uint8]], int]:
    """Return a function that hashes the pixels of an image to 64 bits; -1 for an image without structure.

    Raises:
        ConfigError: If the package imagehash is not installed.

    References:
        Zauner 2010, "Implementation and Benchmarking of Perceptual Image Hash Functions": the pHash.
    """
    try:
        import imagehash
    except ImportError as error:
        raise ConfigError(
            "near duplicates need the package imagehash, which is not installed: pip install prusc[duplicates]"
        ) from error

    def hash_pixels(pixels: NDArray[np.uint8]) -> int:
        if pixels.std() < _MIN_DEVIATION:
            return _NO_HASH
        bits = imagehash.phash(Image.fromarray(pixels)).hash.ravel()
        return int.from_bytes(np.packbits(bits).tobytes(), "big")

    return hash_pixels


def find_near_duplicates(
    listing: Listing, readable: Sequence[int], size: int, problems: Problems, *, num_threads: int | None = None
) -> None:
    """Report images of validation and test that are almost the same as an image of an earlier split.

    Args:
        listing: The samples.
        readable: Indices of the images that can be read.
        size: Side of the images in pixels.
        problems: Receives one problem per image, with the nearest one. Equal files are reported elsewhere.
        num_threads: Number of reading threads; ``None`` uses one per core.

    Raises:
        ConfigError: If the package imagehash is not installed.
    """
    hash_pixels = make_hasher()
    hashes = map_in_threads(
        lambda position: hash_pixels(decode_source(listing.images[readable[position]], size)),
        len(readable),
        num_threads=num_threads,
    )
    same_files = find_shared(listing, num_threads=num_threads)
    has_hash = [index for index, value in zip(readable, hashes, strict=True) if value != _NO_HASH]
    usable = np.array(has_hash, dtype=np.int64)
    values = np.array([value for value in hashes if value != _NO_HASH], dtype=np.uint64)
    splits = listing.splits[usable]
    for split in range(1, len(SPLIT_NAMES)):
        own, earlier = np.flatnonzero(splits == split), np.flatnonzero(splits < split)
        for start in range(0, len(own) if len(earlier) else 0, _CHUNK):
            chunk = own[start : start + _CHUNK]
            distances = np.bitwise_count(values[chunk][:, None] ^ values[earlier][None, :])
            nearest = distances.argmin(axis=1)
            for row, position in enumerate(nearest.tolist()):
                index, other = int(usable[chunk[row]]), int(usable[earlier[position]])
                if distances[row, position] <= _MAX_DISTANCE and index not in same_files:
                    problems.add(
                        "near-duplicate",
                        f"{listing.sample_ids[index]} ({SPLIT_NAMES[split]}) is almost the same image as "
                        f"{listing.sample_ids[other]} ({SPLIT_NAMES[listing.splits[other]]}); expected different "
                        "images in different splits: look at both, and remove one if they show the same",
                    )
