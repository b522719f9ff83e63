"""From a listing to data: images that are decoded, or decoded when needed, split by split."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from prusc.data.consistency import check_samples, drop, find_bad_masks, find_shared
from prusc.data.facts import ImageFacts
from prusc.data.framing import Framing
from prusc.data.images import (
    DEFAULT_MEMORY_LIMIT_BYTES,
    ImageFiles,
    ImageSource,
    Progress,
    decode_source,
    fits_into_memory,
    load_image_inputs,
    load_readable_images,
    map_in_threads,
)
from prusc.data.listing import Listing, Problems
from prusc.data.normalisation import IMAGENET_MEAN, IMAGENET_STD
from prusc.data.regions import ImageRegions, has_regions
from prusc.data.table import SPLIT_NAMES, Data, SkippedSample, Split
from prusc.errors import DataError


def assemble_data(
    listing: Listing,
    image_size: int,
    *,
    framing: Framing | None = None,
    skip_bad: bool = False,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> Data:
    """Read the images of a listing.

    Args:
        listing: Samples of all three splits.
        image_size: Height and width of the images in pixels.
        framing: How they become squares; the usual way if ``None``.
        skip_bad: Leave out images that are missing, cannot be decoded or are in an earlier split too. Finding them
            decodes images that memory does not hold once more.
        memory_limit_bytes: Size up to which all images are held in memory; larger data sets are decoded one by one.
        num_threads: Number of decoding threads; ``None`` uses one per core.
        progress: Called with the number of images decoded so far and the number of all images.

    Returns:
        The data, each split in the order of the listing.

    Raises:
        ConfigError: If a setting is out of range.
        DataError: If an image is missing or damaged, an image is in two splits, a mask cannot be read, or a split or a
            class is left without training samples.
    """
    # Finds empty splits and the like before minutes of decoding, not after.
    _assemble(listing, ImageFiles(listing.images, image_size), ())
    skipped: tuple[SkippedSample, ...] = ()
    shared = find_shared(listing, num_threads=num_threads)
    if skip_bad:
        skipped = _skip(listing, shared)
        listing = drop(listing, list(shared))
    else:
        check_images_exist(listing)
        problems = Problems(collect=True)
        for message in shared.values():
            problems.add("shared", f"{message}, or go on without it (skip_bad)")
        check_samples(listing, problems)
        for message in find_bad_masks(listing, image_size, num_threads=num_threads).values():
            problems.add("mask", message)
        problems.refuse(listing.source)
    frame = (framing or Framing()).frame
    listing = replace(listing, images=tuple(map(frame, listing.images)))
    # Sorted by split, so that one tensor holds all images and each split is a slice of it.
    listing = listing.take(np.argsort(listing.splits, kind="stable"))
    if not skip_bad:
        inputs = load_image_inputs(
            listing.images,
            image_size,
            memory_limit_bytes=memory_limit_bytes,
            num_threads=num_threads,
            progress=progress,
        )
        return _assemble(listing, inputs, ())
    readable: Tensor | None = None
    if fits_into_memory(len(listing), image_size, memory_limit_bytes):
        readable, bad = load_readable_images(listing.images, image_size, num_threads=num_threads, progress=progress)
    else:
        bad = find_bad_images(listing.images, image_size, num_threads=num_threads, progress=progress)
    if len(bad) == len(listing):
        raise DataError(f"none of the {len(listing)} images of {listing.source} can be read; the first: {bad[0]}")
    skipped += _skip(listing, bad)
    listing = drop(listing, list(bad))
    data = _assemble(listing, ImageFiles(listing.images, image_size) if readable is None else readable, skipped)
    check_samples(listing, Problems())
    return data


def _skip(listing: Listing, messages: Mapping[int, str]) -> tuple[SkippedSample, ...]:
    return tuple(
        SkippedSample(SPLIT_NAMES[listing.splits[index]], _as_text(listing.sample_ids[index]), _as_text(message))
        for index, message in messages.items()
    )


def find_bad_images(
    images: tuple[ImageSource, ...],
    image_size: int,
    *,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> dict[int, str]:
    """Decode every image once, to find those that cannot be decoded.

    Args:
        images: The images.
        image_size: Height and width in pixels.
        num_threads: Number of decoding threads; ``None`` uses one per core.
        progress: Called with the number of images decoded so far and the number of all images.

    Returns:
        Error of each image that cannot be decoded, by its index.
    """

    def attempt(index: int) -> str | None:
        try:
            decode_source(images[index], image_size)
        except DataError as error:
            return str(error)
        return None

    messages = map_in_threads(attempt, len(images), num_threads=num_threads, progress=progress)
    return {index: message for index, message in enumerate(messages) if message is not None}


def find_missing_images(listing: Listing) -> NDArray[np.int64]:
    """Return the indices of the samples whose image file does not exist."""
    names: dict[Path, set[str]] = {}
    missing = []
    for index, image in enumerate(listing.images):
        if not isinstance(image, str | Path):
            continue
        folder, name = Path(image).parent, Path(image).name
        if folder not in names:
            names[folder] = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
        if name not in names[folder]:
            missing.append(index)
    return np.array(missing, dtype=np.int64)


def check_images_exist(listing: Listing) -> None:
    """Check that all image files of a listing exist.

    Raises:
        DataError: If some do not exist; the message names their number and the first one.
    """
    missing = find_missing_images(listing)
    if len(missing):
        first = int(missing[0])
        image = listing.images[first]
        assert not hasattr(image, "decode")
        raise DataError(
            f"{Path(image).parent} lacks {len(missing)} of the {len(listing)} listed images, the first is "
            f"{Path(image).name!r} ({listing.places[first]}); unpack all images, shorten the list, or go on without "
            "them (skip_bad)"
        )


def _as_text(name: str) -> str:
    """Escape what is not text, such as file names in another encoding, because our files hold only UTF-8."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def _assemble(listing: Listing, inputs: Tensor | ImageFiles, skipped: tuple[SkippedSample, ...]) -> Data:
    order = np.argsort(listing.splits, kind="stable")
    stops = np.bincount(listing.splits, minlength=len(SPLIT_NAMES)).cumsum().tolist()
    labels = torch.from_numpy(listing.labels[order])
    attributes = torch.from_numpy(listing.attributes[order])
    sample_ids = [_as_text(listing.sample_ids[index]) for index in order.tolist()]
    images = [listing.images[index] for index in order.tolist()]
    masks = [None if listing.masks is None else listing.masks[index] for index in order.tolist()]
    size = inputs.shape[-1] if isinstance(inputs, Tensor) else inputs.size
    are_known = listing.masks is not None or any(map(has_regions, listing.images))
    splits = {}
    try:
        for name, start, stop in zip(SPLIT_NAMES, [0, *stops], stops, strict=False):
            splits[name] = Split(
                inputs=(
                    inputs[start:stop] if isinstance(inputs, Tensor) else ImageFiles(tuple(images[start:stop]), size)
                ),
                labels=labels[start:stop],
                attributes=attributes[start:stop] if listing.attribute_names else None,
                sample_ids=tuple(sample_ids[start:stop]),
                regions=(
                    ImageRegions(tuple(images[start:stop]), tuple(masks[start:stop]), size) if are_known else None
                ),
                facts=ImageFacts(
                    tuple(images[start:stop]),
                    {name: [texts[i] for i in order[start:stop].tolist()] for name, texts in listing.columns.items()},
                ),
            )
        return Data(
            name=listing.name,
            class_names=listing.class_names,
            **splits,
            attribute_names=listing.attribute_names,
            attribute_values=listing.attribute_values,
            mean=IMAGENET_MEAN,
            std=IMAGENET_STD,
            origin={
                "layout": listing.layout,
                "root": str(listing.root.absolute()),
                **listing.origin,
                "attributes": list(listing.attribute_names),
                "image_size": size,
                "num_skipped": len(skipped),
            },
            skipped=skipped,
        )
    except DataError as error:
        raise DataError(f"{error} (from {listing.source})") from error
