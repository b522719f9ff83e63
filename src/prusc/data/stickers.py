"""Coloured stickers, like the patches that dermatologists put next to a lesion: a shortcut of known strength."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prusc.config import StickerConfig
from prusc.data.images import ImageSource, MadeImage, decode_source
from prusc.data.listing import Listing
from prusc.data.mask_files import read_mask
from prusc.data.regions import find_masks
from prusc.data.table import SPLIT_NAMES
from prusc.errors import ConfigError

ATTRIBUTE = "sticker"
VALUES = ("no sticker", "sticker")
COLOURS = ((236, 106, 40), (240, 190, 40), (70, 150, 70), (40, 110, 190), (200, 50, 60), (120, 70, 150))
"""Orange, yellow, green, blue, red and violet, none of them fully saturated."""

_NUM_TRIES = 64
_INDEPENDENT = 0.5


@dataclass(frozen=True)
class StickeredImage(MadeImage):
    """An image with a round sticker near its edge.

    Attributes:
        image: The image below.
        mask: Mask of the area that the sticker avoids, white inside; ``None`` if the sticker may lie anywhere.
        seed: Seed of the sticker's colour, size and place.
        diameter: Mean diameter of the sticker, as a share of the image's side.
    """

    image: ImageSource
    mask: Path | None
    seed: int
    diameter: float

    def decode(self, size: int) -> NDArray[np.uint8]:
        """Return the image as an RGB square [size, size, 3] with its sticker."""
        pixels = decode_source(self.image, size)
        colour, disc = self._draw(size)
        share = disc[:, :, None]
        return (pixels * (1 - share) + colour * share).round().astype(np.uint8)

    def find_regions(self, size: int) -> dict[str, NDArray[np.bool_]]:
        """Return the region of the sticker, and the regions of the image below."""
        below = self.image.find_regions(size) if isinstance(self.image, MadeImage) else {}
        return {**below, ATTRIBUTE: self._draw(size)[1] >= 0.5}

    def _draw(self, size: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the sticker's colour, and the share of each pixel that it covers."""
        lesion = None if self.mask is None else read_mask(self.mask, size)
        rng = np.random.default_rng(self.seed)
        colour = np.array(COLOURS[rng.integers(len(COLOURS))])
        radius = self.diameter / 2 * rng.uniform(0.8, 1.2)
        return colour, _draw_disc(size, radius, lesion, rng)


def add_stickers(listing: Listing, config: StickerConfig, seed: int) -> Listing:
    """Lay stickers on a share of each class in each split, and add the attribute ``sticker``.

    In test, half of each class gets a sticker unless the settings state other shares, so that the sticker says nothing
    about the class there.

    Args:
        listing: Samples with their splits.
        config: Shares, size and masks.
        seed: Seed of the choice of images and of their stickers.

    Returns:
        The listing with stickers; the same listing if ``config.train_shares`` is ``None``.

    Raises:
        ConfigError: If the number of shares is not the number of classes, or the folder of masks does not exist.
    """
    if config.train_shares is None:
        return listing
    num_classes = len(listing.class_names)
    train = _check_shares("train_shares", config.train_shares, listing)
    val = train if config.val_shares is None else _check_shares("val_shares", config.val_shares, listing)
    test = (_INDEPENDENT,) * num_classes
    if config.test_shares is not None:
        test = _check_shares("test_shares", config.test_shares, listing)
    rng = np.random.default_rng(seed)
    chosen = np.zeros(len(listing), dtype=np.bool_)
    for split, shares in enumerate((train, val, test)):
        for label, share in enumerate(shares):
            members = np.flatnonzero((listing.splits == split) & (listing.labels == label))
            chosen[rng.permutation(members)[: round(share * len(members))]] = True
    masks = listing.masks
    if config.mask_folder is not None:
        masks = find_masks(listing, config.mask_folder, option="stickers.mask_folder")
    if masks is None:
        masks = (None,) * len(listing)
    images = tuple(
        StickeredImage(image, mask, _own_seed(seed, name), config.size) if has_sticker else image
        for image, mask, name, has_sticker in zip(
            listing.images, masks, listing.sample_ids, chosen.tolist(), strict=True
        )
    )
    return replace(
        listing,
        images=images,
        attributes=np.concatenate([listing.attributes, chosen[:, None].astype(np.int64)], axis=1),
        attribute_names=(*listing.attribute_names, ATTRIBUTE),
        attribute_values=(*listing.attribute_values, VALUES),
        origin={
            **listing.origin,
            "sticker_shares": {
                SPLIT_NAMES[split]: dict(zip(listing.class_names, shares, strict=True))
                for split, shares in enumerate((train, val, test))
            },
            "sticker_size": config.size,
            "sticker_masks": sum(mask is not None for mask in masks),
        },
    )


def _check_shares(name: str, shares: Sequence[float], listing: Listing) -> tuple[float, ...]:
    if len(shares) != len(listing.class_names):
        raise ConfigError(
            f"stickers.{name} has {len(shares)} shares; expected one for each class, in this order: "
            f"{', '.join(listing.class_names)}"
        )
    return tuple(shares)


def _own_seed(seed: int, name: str) -> int:
    """Return a seed for one image, so that its sticker does not depend on the other images."""
    return int(np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(1, np.uint64)[0])


def _draw_disc(
    size: int, radius: float, lesion: NDArray[np.bool_] | None, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw a disc near an edge that avoids the lesion, as the share of each pixel that it covers, [size, size].

    Several random places are tried. The first one without a pixel of the lesion is taken, else the one with the fewest.
    A place does not depend on the size, except through the lesion that is visible at that size.
    """
    grid = (np.arange(size) + 0.5) / size
    best, fewest = np.zeros((size, size)), np.inf
    for _ in range(_NUM_TRIES):
        along, inwards = rng.uniform(0, 1), rng.uniform(-0.3, 1) * radius
        x, y = [(along, inwards), (along, 1 - inwards), (inwards, along), (1 - inwards, along)][rng.integers(4)]
        distance = np.hypot(grid[None, :] - x, grid[:, None] - y)
        disc = np.clip((radius - distance) * size + 0.5, 0, 1)
        covered = 0 if lesion is None else int((lesion & (disc > 0)).sum())
        if covered < fewest:
            best, fewest = disc, covered
        if fewest == 0:
            break
    return best
