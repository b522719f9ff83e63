"""Layouts that prusc can read, how each is recognised, and the options that apply to it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from prusc.config import DataConfig
from prusc.data.aligned_folders import find_variants, list_aligned_folders
from prusc.data.celeba import ATTRIBUTE_FILE, IMAGE_FOLDER, PARTITION_FILE, list_celeba
from prusc.data.cub import is_cub, list_cub
from prusc.data.huggingface import HUB_PREFIX, is_saved_dataset, list_dataset, open_dataset
from prusc.data.image_folder import is_image_folder, list_image_folder
from prusc.data.listing import Listing, Problems
from prusc.data.regions import add_masks
from prusc.data.splits import DEFAULT_SHARE, fill_splits
from prusc.data.stickers import add_stickers
from prusc.data.table_files import find_tables, read_columns
from prusc.data.tables import ISIC, TABLE, WATERBIRDS, TableFormat, list_table
from prusc.errors import ConfigError, DataError, nearest_names

_SPLIT_OPTIONS = (
    "image_size",
    "interpolation",
    "crop_pct",
    "val_share",
    "test_share",
    "data_seed",
    "mask_folder",
    "stickers",
)
_TABLE_OPTIONS = (
    "target",
    "attributes",
    "classes",
    "file_column",
    "split_column",
    "keep_together",
    "image_folder",
    *_SPLIT_OPTIONS,
)


@dataclass(frozen=True)
class Layout:
    """A way to store a data set.

    Attributes:
        name: Name that the user gives it.
        description: Description of its files.
        recognises: Whether a path has this layout.
        list_samples: Lists the samples of a path. Takes the options that are left after those of the splits.
        options: Options that apply.
        takes_seed: Whether listing the samples is random too.
        takes_masks: Whether listing the samples needs to know the folders of masks, because they look like classes.
    """

    name: str
    description: str
    recognises: Callable[[Path], bool]
    list_samples: Callable[..., Listing]
    options: tuple[str, ...]
    takes_seed: bool = False
    takes_masks: bool = False


def _is_celeba(path: Path) -> bool:
    return path.is_dir() and ((path / IMAGE_FOLDER).is_dir() or any(path.glob(f"{ATTRIBUTE_FILE}.*")))


def _has_columns(path: Path, wanted: tuple[str, ...]) -> bool:
    tables = find_tables(path)
    return bool(tables) and set(wanted) <= set(read_columns(tables[0]))


def _is_table(path: Path) -> bool:
    """Whether a table names images. Any other table next to class folders is ignored, because it is a note."""
    tables = find_tables(path)
    return bool(tables) and (bool(set(TABLE.files) & set(read_columns(tables[0]))) or not is_image_folder(path))


def _table_layout(table_format: TableFormat, recognises: Callable[[Path], bool] | None = None) -> Layout:
    return Layout(
        table_format.layout,
        table_format.description,
        recognises or partial(_has_columns, wanted=table_format.required),
        lambda path, problems, **options: list_table(path, table_format, problems, **options),
        _TABLE_OPTIONS,
    )


def _list_opened(path: Path | str, problems: Problems, **options: Any) -> Listing:
    return list_dataset(open_dataset(str(path)), problems, name=str(path), **options)


def _in_folder(recognises: Callable[[Path], bool]) -> Callable[[Path], bool]:
    return lambda path: path.is_dir() and recognises(path)


LAYOUTS = (
    Layout(
        "celeba",
        f"CelebA ({IMAGE_FOLDER}/, {ATTRIBUTE_FILE}.txt or .csv, {PARTITION_FILE}.txt or .csv)",
        _is_celeba,
        list_celeba,
        ("target", "attributes", *_SPLIT_OPTIONS),
    ),
    Layout(
        "cub",
        "CUB-200-2011, from which Waterbirds is composed (images.txt, train_test_split.txt, images/, segmentations/)",
        _in_folder(is_cub),
        list_cub,
        ("land_backgrounds", "water_backgrounds", "correlation", "image_size", "crop_pct", "data_seed"),
        takes_seed=True,
    ),
    Layout(
        "huggingface",
        f"a data set of Hugging Face's datasets (a folder of save_to_disk, or {HUB_PREFIX}NAME)",
        _in_folder(is_saved_dataset),
        _list_opened,
        ("target", "attributes", "file_column", *_SPLIT_OPTIONS),
    ),
    Layout(
        "aligned-folders",
        "bFFHQ, ColoredMNIST, CIFAR10-C (0.5pct/align, 0.5pct/conflict, valid, test; names end in _CLASS_ATTRIBUTE)",
        _in_folder(lambda path: bool(find_variants(path))),
        list_aligned_folders,
        ("variant", *_SPLIT_OPTIONS),
    ),
    _table_layout(WATERBIRDS),
    _table_layout(ISIC),
    _table_layout(TABLE, _is_table),
    Layout(
        "imagefolder",
        "a folder for each class (cat/, dog/), perhaps below train/, val/, test/",
        _in_folder(is_image_folder),
        list_image_folder,
        ("classes", *_SPLIT_OPTIONS),
        takes_masks=True,
    ),
)
LAYOUT_NAMES = tuple(layout.name for layout in LAYOUTS)


PACKAGED_NAMES = (
    "fashion-stickers",
    "colored-mnist",
    "colored-mnist-irm",
    "spuco-mnist",
    "corrupted-cifar10",
    "dominoes",
)
"""Names of the data sets that come with prusc or that it makes itself."""


def find_layout(name: str, layout: str | None) -> Layout:
    """Return the layout that the user names, or the first one that the path has.

    Args:
        name: A path, or ``hf:`` and a name on Hugging Face's hub.
        layout: Name that the user gives; ``None`` recognises the layout.

    Returns:
        The layout.

    Raises:
        ConfigError: If the path or the layout does not exist, or the path has no known layout.
    """
    by_name = {known.name: known for known in LAYOUTS}
    if layout is not None and layout not in by_name:
        raise ConfigError(f"unknown layout {layout!r}{nearest_names(layout, by_name)}; known are {', '.join(by_name)}")
    if name.startswith(HUB_PREFIX):
        return by_name["huggingface"]
    path = Path(name)
    descriptions = "; ".join(known.description for known in LAYOUTS)
    if not path.exists():
        raise ConfigError(
            f"data {name!r} is neither a packaged data set ({', '.join(PACKAGED_NAMES)}) nor a folder or table"
            f"{nearest_names(name, PACKAGED_NAMES)}; expected a folder that is one of: {descriptions}"
        )
    if layout is not None:
        return by_name[layout]
    for known in LAYOUTS:
        if known.recognises(path):
            return known
    what = "folder" if path.is_dir() else "file"
    raise ConfigError(f"{what} {name!r} has no layout that prusc knows; expected one of: {descriptions}")


def check_options(name: str, given: Mapping[str, Any], applicable: tuple[str, ...]) -> None:
    """Check that all given options apply to a data set.

    Args:
        name: Name or path of the data set, for the error.
        given: The options that were given.
        applicable: Names of the options that apply.

    Raises:
        ConfigError: If an option does not apply; the message lists those that do.
    """
    misplaced = [option for option in given if option not in applicable]
    if misplaced:
        raise ConfigError(
            f"data {name!r} does not take {' or '.join(misplaced)}; its options are {', '.join(applicable)}"
        )


def list_layout(
    name: str, layout: Layout, problems: Problems, given: Mapping[str, Any], *, default_seed: int
) -> tuple[Listing, tuple[str, ...]]:
    """List the samples of a path, with splits, masks and stickers.

    Args:
        name: The path or name.
        layout: Its layout.
        problems: Receives the problems.
        given: The options that were given, all of which apply; see `prusc.config.DataConfig`.
        default_seed: Seed that is used if ``data_seed`` is not given.

    Returns:
        The listing, and the names of the splits that were made.

    Raises:
        ConfigError: If an option is out of range or names something that does not exist.
        DataError: If the data are missing, damaged or inconsistent, unless problems are collected.
    """
    options = dict(given)
    options.pop("image_size", None)
    framing: dict[str, Any] = {
        option: options.pop(option) for option in ("interpolation", "crop_pct") if option in options
    }
    seed = options.pop("data_seed", default_seed)
    shares = {share: options.pop(share, DEFAULT_SHARE) for share in ("val_share", "test_share")}
    mask_folder = options.pop("mask_folder", None)
    stickers = options.pop("stickers", DataConfig().stickers)
    if layout.takes_seed:
        options["seed"] = seed
    if layout.takes_masks:
        options["mask_folders"] = [Path(name) / folder for folder in (mask_folder, stickers.mask_folder) if folder]
    try:
        listing = layout.list_samples(Path(name) if not name.startswith(HUB_PREFIX) else name, problems, **options)
    except DataError as error:
        if not problems.found:
            raise
        # Where nothing is left, the reason is what was found wrong before.
        raise DataError(f"{error}; {len(problems.found)} problems, the first: {problems.found[0].message}") from error
    listing, made = fill_splits(listing, **shares, seed=seed)
    listing = add_stickers(add_masks(listing, mask_folder), stickers, seed)
    origin = {**listing.origin, "data_seed": seed, **framing}
    if made:
        origin |= {"made_splits": list(made), **shares}
    return replace(listing, origin=origin), made
