"""Data sets: what they are made of, and how one is loaded by its name or from its folder."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prusc.data.celeba import ATTRIBUTE_FILE as _CELEBA_ATTRIBUTE_FILE
from prusc.data.celeba import IMAGE_FOLDER as _CELEBA_IMAGE_FOLDER
from prusc.data.celeba import PARTITION_FILE as _CELEBA_PARTITION_FILE
from prusc.data.celeba import load_celeba as load_celeba
from prusc.data.fashion_stickers import load_fashion_stickers as load_fashion_stickers
from prusc.data.images import DEFAULT_MEMORY_LIMIT_BYTES as DEFAULT_MEMORY_LIMIT_BYTES
from prusc.data.images import Progress as Progress
from prusc.data.table import SPLIT_NAMES as SPLIT_NAMES
from prusc.data.table import Data as Data
from prusc.data.table import Split as Split
from prusc.data.transforms import InputTransform as InputTransform
from prusc.errors import ConfigError, nearest_names


@dataclass(frozen=True)
class _Packaged:
    """A data set inside the package: how to load it, and what its loader calls the options that apply."""

    load: Callable[..., Data]
    options: dict[str, str]


@dataclass(frozen=True)
class _Layout:
    """A kind of folder: what it holds, how to know it, how to load it, and the options that apply."""

    description: str
    recognises: Callable[[Path], bool]
    load: Callable[..., Data]
    options: tuple[str, ...]


def _is_celeba(folder: Path) -> bool:
    return (folder / _CELEBA_IMAGE_FOLDER).is_dir() or any(folder.glob(f"{_CELEBA_ATTRIBUTE_FILE}.*"))


# How images get into memory changes nothing about the data, so no data set refuses these.
_LOADING_OPTIONS = ("memory_limit_bytes", "num_threads", "progress")

_PACKAGED = {
    "fashion-stickers": _Packaged(load_fashion_stickers, {"correlation": "correlation", "data_seed": "seed"}),
}
_LAYOUTS = (
    _Layout(
        f"CelebA ({_CELEBA_IMAGE_FOLDER}/, {_CELEBA_ATTRIBUTE_FILE}.txt or .csv, {_CELEBA_PARTITION_FILE}.txt or .csv)",
        _is_celeba,
        load_celeba,
        ("target", "attributes", "image_size"),
    ),
)


def load_data(
    name: str,
    *,
    correlation: float | None = None,
    data_seed: int | None = None,
    target: str | None = None,
    attributes: Sequence[str] | None = None,
    image_size: int | None = None,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
    num_threads: int | None = None,
    progress: Progress | None = None,
    **unknown_options: Any,
) -> Data:
    """Load a data set by its name, or from a folder whose layout is recognised.

    ``None`` leaves an option to the data set's own default.

    Args:
        name: ``fashion-stickers``, or the path of a folder with CelebA's files.
        correlation: Of :func:`load_fashion_stickers`; no other data set takes it.
        data_seed: The ``seed`` of :func:`load_fashion_stickers`; no other data set takes it.
        target: The class, see :func:`load_celeba`; folders only.
        attributes: The spurious attributes, see :func:`load_celeba`; folders only.
        image_size: Height and width of the images; folders only.
        memory_limit_bytes: Up to this size all images of a folder are held in memory; beyond, they are decoded one by
            one.
        num_threads: Decoding threads; ``None`` means one for each core.
        progress: Told the number of images decoded so far and the number of all images.
        **unknown_options: Refused, with the nearest names.

    Returns:
        The data set with its splits.

    Raises:
        ConfigError: If the name, the layout or an option is unknown, or an option does not apply to this data set.
        DataError: If the data are not as they have to be.
    """
    options = {
        "correlation": correlation,
        "data_seed": data_seed,
        "target": target,
        "attributes": attributes,
        "image_size": image_size,
    }
    known = (*options, *_LOADING_OPTIONS)
    for unknown in unknown_options:
        raise ConfigError(
            f"unknown data option {unknown!r}{nearest_names(unknown, known)}; the options are {', '.join(known)}"
        )
    given = {option: value for option, value in options.items() if value is not None}
    if name in _PACKAGED:
        packaged = _PACKAGED[name]
        _check_options(name, given, tuple(packaged.options))
        return packaged.load(**{packaged.options[option]: value for option, value in given.items()})
    folder = Path(name)
    layout = _find_layout(folder)
    _check_options(name, given, layout.options)
    return layout.load(
        folder, **given, memory_limit_bytes=memory_limit_bytes, num_threads=num_threads, progress=progress
    )


def _check_options(name: str, given: dict[str, Any], applicable: tuple[str, ...]) -> None:
    misplaced = [option for option in given if option not in applicable]
    if misplaced:
        raise ConfigError(
            f"data {name!r} does not take {' or '.join(misplaced)}; its options are {', '.join(applicable)}"
        )


def _find_layout(folder: Path) -> _Layout:
    layouts = "; ".join(layout.description for layout in _LAYOUTS)
    if not folder.is_dir():
        raise ConfigError(
            f"data {str(folder)!r} is neither a packaged data set ({', '.join(_PACKAGED)}) nor a folder"
            f"{nearest_names(str(folder), _PACKAGED)}; a folder has to be one of: {layouts}"
        )
    for layout in _LAYOUTS:
        if layout.recognises(folder):
            return layout
    raise ConfigError(f"folder {str(folder)!r} has no layout that prusc knows; expected one of: {layouts}")
