"""Data sets: their data structures, and how to load one by its name or from its folder."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from prusc.config import USE_OPTIONS, DataConfig
from prusc.data.assembly import assemble_data
from prusc.data.celeba import load_celeba as load_celeba
from prusc.data.check import DataReport as DataReport
from prusc.data.check import check_data as check_data
from prusc.data.fashion_stickers import load_fashion_stickers as load_fashion_stickers
from prusc.data.framing import Framing
from prusc.data.huggingface import list_dataset
from prusc.data.images import DEFAULT_IMAGE_SIZE as DEFAULT_IMAGE_SIZE
from prusc.data.images import DEFAULT_MEMORY_LIMIT_BYTES as DEFAULT_MEMORY_LIMIT_BYTES
from prusc.data.images import Progress as Progress
from prusc.data.layouts import LAYOUT_NAMES as LAYOUT_NAMES
from prusc.data.layouts import PACKAGED_NAMES as PACKAGED_NAMES
from prusc.data.layouts import check_options, find_layout, list_layout
from prusc.data.listing import Problems, name_splits, offer_columns
from prusc.data.splits import DEFAULT_SHARE, SPLIT_WORDS, fill_splits
from prusc.data.synthetic.colored_mnist import load_colored_mnist as load_colored_mnist
from prusc.data.synthetic.colored_mnist import load_colored_mnist_irm as load_colored_mnist_irm
from prusc.data.synthetic.corrupted_cifar import load_corrupted_cifar10 as load_corrupted_cifar10
from prusc.data.synthetic.dominoes import load_dominoes as load_dominoes
from prusc.data.synthetic.spuco_mnist import load_spuco_mnist as load_spuco_mnist
from prusc.data.table import SPLIT_NAMES as SPLIT_NAMES
from prusc.data.table import Data as Data
from prusc.data.table import SkippedSample as SkippedSample
from prusc.data.table import Split as Split
from prusc.data.transforms import InputTransform as InputTransform
from prusc.errors import ConfigError, DataError, nearest_names


@dataclass(frozen=True)
class _Packaged:
    """A data set with its own name: the function that loads it, and the options that apply."""

    load: Callable[..., Data]
    options: tuple[str, ...]


_SYNTHETIC = ("source", "download", "num_train", "data_seed")
_PACKAGED = {
    "fashion-stickers": _Packaged(load_fashion_stickers, ("correlation", "data_seed")),
    "colored-mnist": _Packaged(load_colored_mnist, ("conflict_share", *_SYNTHETIC)),
    "colored-mnist-irm": _Packaged(load_colored_mnist_irm, ("label_noise", *_SYNTHETIC)),
    "spuco-mnist": _Packaged(load_spuco_mnist, ("magnitude", "variance", "strength", *_SYNTHETIC)),
    "corrupted-cifar10": _Packaged(load_corrupted_cifar10, ("conflict_share", *_SYNTHETIC)),
    "dominoes": _Packaged(load_dominoes, ("num_classes", "conflict_share", "cifar_source", *_SYNTHETIC)),
}


def load_data(
    name: str,
    *,
    layout: str | None = None,
    skip_bad: bool = False,
    default_seed: int = 0,
    default_image_size: int = DEFAULT_IMAGE_SIZE,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
    num_threads: int | None = None,
    progress: Progress | None = None,
    log: Callable[[str], None] | None = None,
    **options: Any,
) -> Data:
    """Load a data set by its name, or from a folder or table whose layout prusc recognises.

    Args:
        name: One of ``PACKAGED_NAMES``, such as ``fashion-stickers``, the path of a folder or table, or ``hf:`` and a
            name on Hugging Face's hub.
        layout: Name of the layout; ``None`` recognises it.
        skip_bad: Leave out images that cannot be read or are in another split too, and list them in ``Data.skipped``.
        default_seed: Seed of the splits and stickers that are made, unless ``data_seed`` is given.
        default_image_size: Height and width of the images in pixels, unless ``image_size`` is given.
        memory_limit_bytes: Size up to which all images are held in memory; larger data sets are decoded one by one.
        num_threads: Number of decoding threads; ``None`` uses one per core.
        progress: Called with the number of images decoded so far and the number of all images.
        log: Called with one line of text that describes what was recognised.
        **options: Options of `prusc.config.DataConfig`; ``None`` keeps the data set's own default.

    Returns:
        The data set with its splits.

    Raises:
        ConfigError: If the name, the layout or an option is unknown, or an option does not apply to this data set.
        DataError: If the data are missing, damaged or inconsistent.
    """
    known = (*(item.name for item in fields(DataConfig) if item.name not in USE_OPTIONS),)
    for unknown in (option for option in options if option not in known):
        raise ConfigError(
            f"unknown data option {unknown!r}{nearest_names(unknown, known)}; the options are {', '.join(known)}"
        )
    given = {option: value for option, value in options.items() if value is not None}
    if name in _PACKAGED:
        packaged = _PACKAGED[name]
        check_options(name, given, packaged.options)
        if layout is not None:
            raise ConfigError(f"layout {layout!r} does not apply to {name!r}, which is not a folder; leave it out")
        seed = given.pop("data_seed", default_seed)
        return packaged.load(**given, seed=seed)
    found = find_layout(name, layout)
    check_options(name, given, found.options)
    problems = Problems()
    listing, made = list_layout(name, found, problems, given, default_seed=default_seed)
    if log is not None:
        named = "named" if layout is not None else "recognised"
        attributes = f"attributes {', '.join(listing.attribute_names)}" if listing.attribute_names else "no attributes"
        splits = f"; made the {name_splits(made)}" if made else ""
        log(
            f"data: layout {found.name} ({named}), {len(listing)} images, classes {', '.join(listing.class_names[:10])}"
            f"{', ...' if len(listing.class_names) > 10 else ''}, {attributes}{splits}"
        )
        if listing.origin.get("unused_columns"):
            log(f"data: {offer_columns(listing.origin['unused_columns'])}")
    problems.report_notes(log)
    return assemble_data(
        listing,
        given.get("image_size", default_image_size),
        framing=Framing(given.get("interpolation", "bilinear"), given.get("crop_pct", 1.0)),
        skip_bad=skip_bad,
        memory_limit_bytes=memory_limit_bytes,
        num_threads=num_threads,
        progress=progress,
    )


def load_huggingface(
    dataset: Any,
    *,
    name: str = "huggingface",
    target: str | None = None,
    attributes: Sequence[str] = (),
    file_column: str | None = None,
    image_size: int = DEFAULT_IMAGE_SIZE,
    val_share: float = DEFAULT_SHARE,
    test_share: float = DEFAULT_SHARE,
    seed: int = 0,
    skip_bad: bool = False,
    memory_limit_bytes: int = DEFAULT_MEMORY_LIMIT_BYTES,
    num_threads: int | None = None,
    progress: Progress | None = None,
) -> Data:
    """Load a `datasets.Dataset` or `DatasetDict` of images.

    Args:
        dataset: Data set whose splits are called ``train``, ``validation`` and ``test``; missing splits are made.
        name: Name of the data in reports.
        target: Column of the class.
        attributes: Columns of the spurious attributes, for evaluation only.
        file_column: Column of the image.
        image_size: Height and width of the images in pixels.
        val_share: See `prusc.data.splits.fill_splits`.
        test_share: See `prusc.data.splits.fill_splits`.
        seed: Seed of the splits that are made.
        skip_bad: See `load_data`.
        memory_limit_bytes: See `load_data`.
        num_threads: See `load_data`.
        progress: See `load_data`.

    Returns:
        The data set with its splits.

    Raises:
        ConfigError: If a column is missing or a setting is out of range.
        DataError: If the data are missing, damaged or inconsistent.
    """
    listing = list_dataset(
        dataset, Problems(), name=name, target=target, attributes=attributes, file_column=file_column
    )
    listing, _ = fill_splits(listing, val_share=val_share, test_share=test_share, seed=seed)
    return assemble_data(
        listing,
        image_size,
        skip_bad=skip_bad,
        memory_limit_bytes=memory_limit_bytes,
        num_threads=num_threads,
        progress=progress,
    )


def as_data(given: Any) -> Data:
    """Return data of any form that the tasks take.

    Args:
        given: `Data`; the name or path of data, as for `load_data`; one map-style data set or loader; a tuple of two or
            three of them, for training, validation and test, or a mapping by the names of the splits, as a
            `datasets.DatasetDict` is; or a tuple of arrays, the inputs and the labels.

    Returns:
        The data; splits that are missing are made.

    Raises:
        PruscError: If the data cannot be read or understood.
    """
    if isinstance(given, Data):
        return given
    if isinstance(given, str | Path):
        return load_data(str(given))
    if isinstance(given, Mapping):
        unknown = [name for name in given if str(name).lower() not in SPLIT_WORDS]
        splits = {SPLIT_NAMES[SPLIT_WORDS[str(name).lower()]]: given[name] for name in given if name not in unknown}
        if unknown or "train" not in splits:
            raise DataError(
                f"the data have the splits {', '.join(map(str, given))}; expected train, and perhaps others of "
                f"{', '.join(SPLIT_WORDS)}"
            )
        return Data.from_datasets(**splits)
    if isinstance(given, tuple):
        are_arrays = bool(given) and isinstance(given[0], Tensor | np.ndarray)
        return Data.from_arrays(given) if are_arrays else Data.from_datasets(*given[:3])
    return Data.from_datasets(given)
