"""The folders of bFFHQ, ColoredMNIST and CIFAR10-C, as DCWP and others use them. File names hold the labels."""

import re
from pathlib import Path

import numpy as np

from prusc.data.folder_walk import walk_images
from prusc.data.listing import Listing, Problems
from prusc.data.values import number_values, sort_values
from prusc.errors import ConfigError, DataError

_TRAIN_PARTS = ("align", "conflict")
# An id, the class and the attribute, such as 00123_1_0.png.
_NAME = re.compile(r".*_(\d{1,9})_(\d{1,9})")


def find_variants(root: Path) -> tuple[str, ...]:
    """Return the names of the sub-folders that hold ``align`` or ``conflict``, such as ``0.5pct``."""
    folders = (folder for folder in root.iterdir() if folder.is_dir())
    return tuple(sorted(f.name for f in folders if any((f / part).is_dir() for part in _TRAIN_PARTS)))


def list_aligned_folders(root: Path, problems: Problems, *, variant: str | None = None) -> Listing:
    """List ``<variant>/align``, ``<variant>/conflict``, ``valid`` (in the variant or next to it) and ``test``.

    Each of them holds the images directly or in one folder per class. Images are called ``<id>_<class>_<attribute>``.
    Which of the two training folders holds an image is not used.

    Args:
        root: Folder of the data.
        problems: Receives the problems of names.
        variant: Folder with the share of bias-conflicting samples, such as ``0.5pct``; optional if there is only one.

    Returns:
        The images in the order of their names, with the attribute ``attribute``.

    Raises:
        ConfigError: If the variant does not exist, or is required and not given.
        DataError: If there are no images, or a name has a problem and problems are not collected.
    """
    variants = find_variants(root)
    if variant is None and len(variants) == 1:
        variant = variants[0]
    if variant not in variants:
        found = "is missing" if variant is None else f"is {variant!r}"
        raise ConfigError(f"data_options.variant {found}; {root} has {', '.join(variants) or 'none'}")
    valid = root / variant / "valid"
    parts = [(root / variant / part, 0) for part in _TRAIN_PARTS]
    parts += [(valid if valid.is_dir() else root / "valid", 1), (root / "test", 2)]
    images: list[Path] = []
    labels: list[str] = []
    values: list[str] = []
    splits: list[int] = []
    for folder, split in parts:
        for path in walk_images(folder, problems) if folder.is_dir() else ():
            match = _NAME.fullmatch(path.stem)
            if match is None:
                message = f"{path}: the name does not end in _CLASS_ATTRIBUTE; expected one such as 00123_1_0.png"
                problems.add("label", message)
                continue
            label, value = (str(int(number)) for number in match.groups())
            parent = path.parent.name
            if path.parent != folder and parent.isdecimal() and int(parent) != int(label):
                problems.add(
                    "label", f"{path}: the name says class {label}, its folder class {parent}; expected the same"
                )
                continue
            images.append(path)
            labels.append(label)
            values.append(value)
            splits.append(split)
    if not images:
        raise DataError(
            f"{root / variant} and {root / 'test'} hold no images; expected images in align, conflict and test"
        )
    numbers, class_names = number_values(labels, sort_values(set(labels)))
    attributes, attribute_values = number_values(values)
    names = tuple(path.relative_to(root).as_posix() for path in images)
    return Listing(
        name=root.absolute().name,
        layout="aligned-folders",
        root=root,
        source=f"folder {root}",
        sample_ids=names,
        images=tuple(images),
        places=tuple(map(str, images)),
        labels=numbers,
        class_names=class_names,
        splits=np.array(splits, dtype=np.int64),
        attributes=attributes[:, None],
        attribute_names=("attribute",),
        attribute_values=(attribute_values,),
        origin={"variant": variant, "classes": list(class_names)},
    )
