"""Decoding of images to uint8 tensors, in parallel or one by one, with errors that name the file."""

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TypeAlias, TypeVar

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torch.utils.data import Dataset

from prusc.data.png_notes import strip_notes
from prusc.errors import ConfigError, DataError

WorkT = TypeVar("WorkT")
Progress: TypeAlias = Callable[[int, int], None]
"""Callback that receives the number of finished items and the number of all items."""


class MadeImage(ABC):
    """An image that is not a file of its own: painted over, composed, or stored inside another file."""

    @abstractmethod
    def decode(self, size: int) -> NDArray[np.uint8]:
        """Return the image as an RGB square [size, size, 3]; the same at every call.

        Raises:
            DataError: If a source of the image is missing or damaged.
        """

    def find_regions(self, size: int) -> dict[str, NDArray[np.bool_]]:  # noqa: ARG002 -- most images have no known regions
        """Return the regions that are known from the making of the image, by name, each [size, size] and True inside.

        Raises:
            DataError: If a source of the image is missing or damaged.
        """
        return {}

    def with_resampling(self, resample: Image.Resampling) -> "MadeImage":
        """Return the same image, resized with another interpolation.

        Raises:
            ConfigError: If that is not possible.
        """
        raise ConfigError(
            f"interpolation {resample.name.lower()} applies to images from files, and prusc makes these images; leave "
            "data_options.interpolation out"
        )


ImageSource: TypeAlias = str | Path | MadeImage
"""Source of an image: the path of a file, or an object that makes it."""

DEFAULT_MEMORY_LIMIT_BYTES = 4 * 2**30
DEFAULT_IMAGE_SIZE = 96

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".ppm", ".pgm", ".tif", ".tiff", ".webp")

_CHUNK_SIZE = 64
# Formats whose 16-bit grayscale Pillow opens in its 32-bit mode "I".
_FORMATS_WITH_16_BIT_IN_MODE_I = ("PNG", "PPM")


def decode_image(path: str | Path, size: int) -> UInt8[Tensor, "3 {size} {size}"]:
    """Read an image file as an RGB square.

    The shorter side is resized to ``size`` (bilinear, antialiased), the longer one cropped around its centre. All
    formats that Pillow reads become RGB. Grayscale of 8 and 16 bits is scaled, transparency is blended with white, and
    the camera's orientation (EXIF) is applied.

    Args:
        path: The image file.
        size: Height and width of the result in pixels.

    Returns:
        Intensities in 0..255.

    Raises:
        ConfigError: If ``size`` is less than 1.
        DataError: If the file is missing, empty, damaged, truncated, not an image or too large to be decoded safely.
    """
    _check_size(size)
    return torch.from_numpy(np.ascontiguousarray(decode_file(Path(path), size).transpose(2, 0, 1)))


def decode_source(source: ImageSource, size: int) -> NDArray[np.uint8]:
    """Return an image as an RGB square [size, size, 3]; see `decode_image`."""
    return source.decode(size) if isinstance(source, MadeImage) else decode_file(Path(source), size)


def decode_bytes(
    content: bytes, name: str, size: int, resample: Image.Resampling = Image.Resampling.BILINEAR
) -> NDArray[np.uint8]:
    """Decode the content of an image file, as `decode_image` does. Errors call the image ``name``."""
    return _decode_open(BytesIO(content), name, size, resample)


def map_in_threads(
    work: Callable[[int], WorkT], count: int, *, num_threads: int | None = None, progress: Progress | None = None
) -> list[WorkT]:
    """Apply a function to each of ``0..count-1`` in parallel threads.

    Args:
        work: Function of the index; must be safe to run in several threads.
        count: Number of indices.
        num_threads: Number of threads; ``None`` uses one per core that this process may use.
        progress: Called in the calling thread with the number of finished indices and ``count``.

    Returns:
        The results in order.

    Raises:
        ConfigError: If ``num_threads`` is less than 1.
    """
    num_threads = _num_cores() if num_threads is None else num_threads
    if num_threads < 1:
        raise ConfigError(f"num_threads is {num_threads}; expected at least 1")
    results: list[WorkT] = []
    # A batch has few images, and each thread is to have some.
    size = max(min(_CHUNK_SIZE, -(-count // num_threads)), 1)

    def do_chunk(start: int) -> list[WorkT]:
        return [work(index) for index in range(start, min(start + size, count))]

    executor = ThreadPoolExecutor(num_threads, thread_name_prefix="prusc-decode")
    try:
        for chunk in executor.map(do_chunk, range(0, count, size)):
            results += chunk
            if progress is not None:
                progress(len(results), count)
    finally:
        # After an error or Ctrl-C, chunks that have not begun are dropped.
        executor.shutdown(wait=True, cancel_futures=True)
    return results


def load_images(
    paths: Sequence[ImageSource], size: int, *, num_threads: int | None = None, progress: Progress | None = None
) -> UInt8[Tensor, "{len(paths)} 3 {size} {size}"]:
    """Decode images in parallel threads into one tensor, in the order of ``paths``.

    Args:
        paths: The images.
        size: Height and width of the result in pixels; see `decode_image`.
        num_threads: Number of decoding threads; ``None`` uses one per core that this process may use.
        progress: Called in the calling thread with the number of images decoded so far and the number of all images.

    Returns:
        One image per path.

    Raises:
        ConfigError: If ``size`` or ``num_threads`` is less than 1.
        DataError: See `decode_image`; of several bad files, the first one in the order of ``paths`` is reported.
    """
    _check_size(size)
    images = np.empty((len(paths), 3, size, size), dtype=np.uint8)

    def decode(index: int) -> None:
        images[index] = decode_source(paths[index], size).transpose(2, 0, 1)

    map_in_threads(decode, len(paths), num_threads=num_threads, progress=progress)
    return torch.from_numpy(images)


def load_readable_images(
    paths: Sequence[ImageSource], size: int, *, num_threads: int | None = None, progress: Progress | None = None
) -> tuple[UInt8[Tensor, "readable 3 {size} {size}"], dict[int, str]]:
    """Decode images as `load_images` does, and leave out those that cannot be decoded.

    Args:
        paths: The images.
        size: See `load_images`.
        num_threads: See `load_images`.
        progress: See `load_images`.

    Returns:
        One image per path that can be decoded, and the error of each other path by its index.

    Raises:
        ConfigError: See `load_images`.
    """
    _check_size(size)
    images = np.empty((len(paths), 3, size, size), dtype=np.uint8)

    def attempt(index: int) -> str | None:
        try:
            images[index] = decode_source(paths[index], size).transpose(2, 0, 1)
        except DataError as error:
            return str(error)
        return None

    messages = map_in_threads(attempt, len(paths), num_threads=num_threads, progress=progress)
    bad = {index: message for index, message in enumerate(messages) if message is not None}
    num_kept = 0
    for index in range(len(paths)):
        if index not in bad:
            # In place, because a copy would double the memory.
            if num_kept < index:
                images[num_kept] = images[index]
            num_kept += 1
    return torch.from_numpy(images[:num_kept]), bad


def fits_into_memory(num_images: int, size: int, memory_limit_bytes: int) -> bool:
    """Whether this number of decoded RGB images takes no more than the limit."""
    return num_images * 3 * size * size <= memory_limit_bytes


@dataclass(frozen=True)
class ImageFiles(Dataset[Tensor]):
    """Images that are decoded when they are accessed.

    Attributes:
        paths: The images.
        size: Height and width of each item in pixels; see `decode_image`.
    """

    paths: tuple[ImageSource, ...]
    size: int

    def __post_init__(self) -> None:
        _check_size(self.size)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> UInt8[Tensor, "3 height width"]:
        return torch.from_numpy(np.ascontiguousarray(decode_source(self.paths[index], self.size).transpose(2, 0, 1)))


def load_image_inputs(
    paths: Sequence[ImageSource],
    size: int,
    *,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> UInt8[Tensor, "samples 3 {size} {size}"] | ImageFiles:
    """Decode all images if they fit into memory; otherwise return a data set that decodes them one by one.

    Args:
        paths: The images.
        size: Height and width of the images in pixels; see `decode_image`.
        memory_limit_bytes: Largest size of all decoded images in memory.
        num_threads: See `load_images`.
        progress: See `load_images`; not called if nothing is decoded yet.

    Returns:
        Inputs of a `prusc.data.table.Split`, in the order of ``paths``.

    Raises:
        ConfigError: See `load_images`.
        DataError: See `decode_image`. Images that are not decoded yet are only checked to exist and not be empty.
    """
    _check_size(size)
    if fits_into_memory(len(paths), size, memory_limit_bytes):
        return load_images(paths, size, num_threads=num_threads, progress=progress)
    for path in paths:
        if not isinstance(path, MadeImage):
            _check_file(Path(path))
    return ImageFiles(tuple(paths), size)


def _check_size(size: int) -> None:
    if size < 1:
        raise ConfigError(f"the image size is {size}; expected at least 1 pixel")


def _num_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _check_file(path: Path) -> None:
    """Refuse what cannot be an image file, without opening it."""
    try:
        status = path.stat()
    except OSError as error:
        raise DataError(
            f"image {path} cannot be opened ({error.strerror}); expected a file: check the folder and the list that "
            "names the image"
        ) from error
    if not stat.S_ISREG(status.st_mode):
        raise DataError(f"image {path} is not a file; expected an image file")
    if status.st_size == 0:
        raise DataError(f"image {path} is empty (0 bytes); expected an image file: copy or download it again")


def decode_file(path: Path, size: int, resample: Image.Resampling = Image.Resampling.BILINEAR) -> NDArray[np.uint8]:
    """Decode a file to [size, size, 3]; see `decode_image`."""
    return _decode_open(path, path, size, resample)


def _decode_open(file: Path | BytesIO, path: Path | str, size: int, resample: Image.Resampling) -> NDArray[np.uint8]:
    """Decode what Pillow can open; errors call it ``path``."""
    with open_image(file, path=path, size=size) as image:
        return square_pixels(image, path, size, resample)


def crop_square(image: Image.Image, size: int, resample: Image.Resampling = Image.Resampling.BILINEAR) -> Image.Image:
    """Resize the central square of an image."""
    # The same as resizing all and then cropping, in less memory: an image of 1 x 100,000 pixels would otherwise grow to
    # gigabytes.
    side, left, top = min(image.size), image.width - min(image.size), image.height - min(image.size)
    box = (left / 2, top / 2, left / 2 + side, top / 2 + side)
    return image.resize((size, size), resample, box=box)


@contextmanager
def open_image(
    file: Path | BytesIO, *, path: Path | str | None = None, size: int | None = None
) -> Iterator[Image.Image]:
    """Decode an image in its own mode, turned as the camera was held, for a ``with`` block.

    Args:
        file: The file, or its content.
        path: Name of the image in errors; ``None`` is the file.
        size: Side in pixels that is enough, which makes the decoding of large JPEG files faster.

    Raises:
        DataError: See `decode_image`.
    """
    path = path if path is not None else str(file)
    if isinstance(file, Path):
        _check_file(file)
    try:
        with _open(file, path) as image:
            _check_num_pixels(path, image)
            if size is not None:
                # Decoding a JPEG at a fraction of its size is many times faster; other formats ignore this call.
                image.draft(None, (size, size))
            image.load()
            _turn(image)
            yield image
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(
            f"image {path} is not an image that Pillow can read; expected JPEG, PNG or another image format: "
            "remove it from the data set or replace the file"
        ) from error
    except Image.DecompressionBombError as error:
        raise DataError(f"image {path} is too large ({error}); scale it down or remove it from the data set") from error
    except Exception as error:  # Pillow's readers raise many kinds of errors for a damaged file.
        raise DataError(
            f"image {path} is damaged or truncated ({type(error).__name__}: {error}); expected a complete image file: "
            "copy or download it again, or remove it from the data set"
        ) from error


def square_pixels(
    image: Image.Image, name: Path | str, size: int, resample: Image.Resampling = Image.Resampling.BILINEAR
) -> NDArray[np.uint8]:
    """Return an upright image as an RGB square [size, size, 3], as `decode_image` does. Errors call it ``name``."""
    return np.asarray(crop_square(_to_rgb(name, image), size, resample))


def _open(file: Path | BytesIO, path: Path | str) -> Image.Image:
    """Open and load an image; if Pillow stumbles over its notes and profiles, without them."""
    try:
        image = Image.open(file)
        if image.format == "PNG":
            _check_num_pixels(path, image)
            # Notes may also stand behind the pixels.
            image.load()
    except (ValueError, SyntaxError, UnidentifiedImageError):
        content = file.read_bytes() if isinstance(file, Path) else file.getvalue()
        for keeps_orientation in (True, False):
            bare = strip_notes(content, keeps_orientation=keeps_orientation)
            if bare is None:
                raise
            try:
                image = Image.open(BytesIO(bare))
                _check_num_pixels(path, image)
                image.load()
            except (ValueError, SyntaxError, UnidentifiedImageError):
                if not keeps_orientation:
                    raise
            else:
                return image
        raise
    return image


def _turn(image: Image.Image) -> None:
    """Turn an image as the camera was held. Damaged notes of the camera say nothing, as in a browser."""
    try:
        ImageOps.exif_transpose(image, in_place=True)
    except Exception:  # noqa: BLE001 -- Pillow's reader of EXIF raises many kinds of errors for damaged notes
        return


def _check_num_pixels(path: Path | str, image: Image.Image) -> None:
    """Refuse a decompression bomb, because Pillow itself only warns up to twice its limit."""
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and image.width * image.height > limit:
        raise DataError(
            f"image {path} is too large ({image.width} x {image.height} pixels); expected at most {limit:,} pixels: "
            "scale it down or remove it from the data set"
        )


def _to_rgb(path: Path | str, image: Image.Image) -> Image.Image:
    """Convert any mode to RGB without losing visible content."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode.startswith("I;16") or (image.mode == "I" and image.format in _FORMATS_WITH_16_BIT_IN_MODE_I):
        # Pillow would clip at 255 or drop bits, so we scale the full range 0..65535 to 0..255.
        values = np.asarray(image).astype(np.float32)
        return Image.fromarray((values / 257).round().clip(0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise DataError(
            f"image {path} has 32 bits per pixel (mode {image.mode!r}), whose range is unknown; expected 8 or 16 "
            "bits: convert it to 8 bits"
        )
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    return image.convert("RGB")
