"""Known regions of images (masks and stickers), which show whether a network looks there."""

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

import torch
from jaxtyping import Bool
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from prusc.data.framing import FramedImage, cut_centre
from prusc.data.images import IMAGE_SUFFIXES, ImageSource, MadeImage
from prusc.data.listing import Listing
from prusc.data.mask_files import read_mask
from prusc.errors import ConfigError, DataError

OBJECT = "object"
"""Name of the region inside a mask from a file."""

_DEFAULT_FOLDER = "masks"
_ORIENTATION, _TURNED = 0x0112, (5, 6, 7, 8)
# The aspect ratio of a mask that was scaled down may differ by a rounded pixel.
_MAX_RATIO = 1.02


@dataclass(frozen=True)
class ImageRegions:
    """Regions of the images of a split: those known from the making of an image, and the inside of its mask.

    Attributes:
        images: The images.
        masks: Mask of each image, white where the object is; ``None`` for an image without one.
        size: Height and width of the images in pixels; masks are resized and cropped as images are.
    """

    images: tuple[ImageSource, ...]
    masks: tuple[Path | None, ...]
    size: int

    def __call__(self, index: int) -> dict[str, Bool[Tensor, "{self.size} {self.size}"]]:
        """Return the regions of one image.

        Args:
            index: Index of the image.

        Returns:
            Regions by name, each bool [size, size] and True inside.

        Raises:
            DataError: If the mask cannot be read or has another aspect ratio than the image.
        """
        image, mask = self.images[index], self.masks[index]
        found = image.find_regions(self.size) if isinstance(image, MadeImage) else {}
        if mask is not None:
            file = image.source if isinstance(image, FramedImage) else image
            if not isinstance(file, MadeImage):
                _check_shapes(Path(file), mask)
            whole = image.whole_size(self.size) if isinstance(image, FramedImage) else self.size
            found[OBJECT] = cut_centre(read_mask(mask, whole), self.size)
        return {name: torch.from_numpy(inside) for name, inside in found.items()}


def has_regions(image: ImageSource) -> bool:
    """Whether regions are known from the making of an image."""
    if isinstance(image, FramedImage):
        return has_regions(image.source)
    return isinstance(image, MadeImage) and type(image).find_regions is not MadeImage.find_regions


def add_masks(listing: Listing, folder: str | None) -> Listing:
    """Add the masks of the images to a listing.

    Args:
        listing: The samples.
        folder: Folder of the masks, relative to the data's folder. ``None`` uses the folder ``masks``, unless it does
            not exist or holds the images themselves.

    Returns:
        The listing with masks.

    Raises:
        ConfigError: If the folder does not exist or holds no mask of any image.
    """
    if folder is not None:
        return replace(listing, masks=find_masks(listing, folder, option="data_options.mask_folder"))
    usual = listing.root / _DEFAULT_FOLDER
    files = (Path(image) for image in listing.images if not isinstance(image, MadeImage))
    if not usual.is_dir() or any(file.is_relative_to(usual) for file in files):
        return listing
    masks = _match(listing, usual)
    return replace(listing, masks=masks) if any(masks) else listing


def find_masks(listing: Listing, folder: str, *, option: str) -> tuple[Path | None, ...]:
    """Find the mask of each image by the same path relative to the folder, or by the same file name, with any ending.

    Args:
        listing: The samples.
        folder: Folder of the masks, relative to the data's folder.
        option: Name of the option, for the error.

    Returns:
        The mask of each sample, ``None`` for a sample without one.

    Raises:
        ConfigError: If the folder does not exist or holds no mask of any image.
    """
    place = listing.root / folder
    if not place.is_dir():
        raise ConfigError(f"{option} {place} is not a folder; expected a folder with a mask for each image")
    masks = _match(listing, place)
    if not any(masks):
        raise ConfigError(
            f"{option} {place} holds no mask of the {len(listing)} images; expected files with the images' names, "
            f"such as {PurePosixPath(listing.sample_ids[0]).stem}.png"
        )
    return masks


def _match(listing: Listing, folder: Path) -> tuple[Path | None, ...]:
    files = {
        path.relative_to(folder).with_suffix("").as_posix(): path
        for path in folder.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES
    }
    names = [PurePosixPath(name) for name in listing.sample_ids]
    known = [_without_ending(name) for name in names]
    # The mask 1.png is ambiguous if there are two images, a/1.jpg and b/1.jpg.
    stems = Counter(PurePosixPath(name).name for name in known)
    return tuple(
        files.get(name) or (files.get(stem) if stems[stem] == 1 else None)
        for name in known
        for stem in [PurePosixPath(name).name]
    )


def _without_ending(name: PurePosixPath) -> str:
    return (name.with_suffix("") if name.suffix.lower() in IMAGE_SUFFIXES else name).as_posix()


def _check_shapes(image: Path, mask: Path) -> None:
    """Refuse a mask whose aspect ratio is not that of its image."""
    (width, height), (mask_width, mask_height) = _read_size(image), _read_size(mask)
    ratio = width * mask_height / (height * mask_width)
    if not 1 / _MAX_RATIO < ratio < _MAX_RATIO:
        raise DataError(
            f"mask {mask} has {mask_width} x {mask_height} pixels, its image {image} {width} x {height}; expected the "
            "same aspect ratio"
        )


def _read_size(path: Path) -> tuple[int, int]:
    """Return width and height after the orientation is applied, from the file's header alone."""
    try:
        with Image.open(path) as image:
            turned = image.getexif().get(_ORIENTATION) in _TURNED
            return (image.height, image.width) if turned else image.size
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise DataError(f"image {path} cannot be read ({error}); expected an image file") from error
