"""Folders whose names say the class: torchvision's ImageFolder, with or without a folder for each split above."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from prusc.data.images import IMAGE_SUFFIXES
from prusc.data.listing import NO_SPLIT, Listing, Problems, number_values
from prusc.data.splits import SPLIT_WORDS
from prusc.data.table import SPLIT_NAMES


def is_image_folder(root: Path) -> bool:
    """Whether a folder has sub-folders for at least two classes, each with an image in it, perhaps below splits."""
    return root.is_dir() and any(_num_classes(folder) >= 2 for folder, _ in _split_folders(root))


def list_image_folder(root: Path, problems: Problems) -> Listing:
    """List the images below ``<class>/`` or ``<split>/<class>/``; each split's folder has a name such as ``train``.

    Files with other endings than those of images, and hidden ones, are passed over.

    Args:
        root: The folder.
        problems: Takes what is wrong: a class without images, or one that is not in the training split.

    Returns:
        The images in the order of their names; classes in the order of theirs.

    Raises:
        DataError: If there are no images, or for what is wrong unless problems are collected.
    """
    images: list[Path] = []
    classes: list[str] = []
    splits: list[int] = []
    for folder, split in _split_folders(root):
        for class_folder in _sub_folders(folder):
            before = len(images)
            for path in walk_images(class_folder, problems):
                images.append(path)
                classes.append(class_folder.name)
                splits.append(split)
            if len(images) == before:
                message = f"class folder {class_folder} holds no images; expected some, or no such folder: remove it"
                problems.add("class", message)
    trained = {name for name, split in zip(classes, splits, strict=True) if split in (NO_SPLIT, 0)}
    unknown = sorted(set(classes) - trained)
    for name in unknown:
        first = next(i for i, (c, s) in enumerate(zip(classes, splits, strict=True)) if c == name and s > 0)
        problems.add(
            "label",
            f"class {name!r} of {SPLIT_NAMES[splits[first]]} has no folder with images in train, which has "
            f"{', '.join(sorted(trained)) or 'none'}; expected the same classes in every split: rename "
            f"{images[first].parent} or add training images",
        )
    kept = [index for index, name in enumerate(classes) if name in trained]
    # By the alphabet and never as numbers, as torchvision does: a network trained elsewhere has this order.
    labels, class_names = number_values([classes[index] for index in kept], sorted(trained))
    names = [images[index].relative_to(root).as_posix() for index in kept]
    return Listing(
        name=root.absolute().name,
        layout="imagefolder",
        root=root,
        source=f"folder {root}",
        sample_ids=tuple(names),
        images=tuple(images[index] for index in kept),
        places=tuple(str(images[index]) for index in kept),
        labels=labels,
        class_names=class_names,
        splits=np.array([splits[index] for index in kept], dtype=np.int64),
        attributes=np.zeros((len(kept), 0), dtype=np.int64),
        origin={"classes": list(class_names)},
    )


def walk_images(folder: Path, problems: Problems) -> Iterator[Path]:
    """Yield the image files in a folder and below, in the order of their names; note the files that are none."""
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name.startswith("."):
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield path
        else:
            problems.note(
                "ignored", f"{path} is passed over: it does not have the ending of an image; remove or rename it"
            )


def _split_folders(root: Path) -> list[tuple[Path, int]]:
    """Return the folders of the splits, or the folder itself without a split."""
    found = [(folder, SPLIT_WORDS.get(folder.name.lower(), NO_SPLIT)) for folder in _sub_folders(root)]
    # Classes may well be called 0, 1 and 2.
    named = [(folder, split) for folder, split in found if split != NO_SPLIT and not folder.name.isdecimal()]
    return sorted(named, key=lambda item: item[1]) if any(split == 0 for _, split in named) else [(root, NO_SPLIT)]


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _num_classes(folder: Path) -> int:
    return sum(
        any(path.suffix.lower() in IMAGE_SUFFIXES for path in class_folder.iterdir())
        for class_folder in _sub_folders(folder)
    )
