"""Folders named after the classes: torchvision's ImageFolder, with or without one folder per split above."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from prusc.data.images import IMAGE_SUFFIXES
from prusc.data.listing import NO_SPLIT, Listing, Problems, number_values
from prusc.data.splits import SPLIT_WORDS
from prusc.data.table import SPLIT_NAMES


def is_image_folder(root: Path) -> bool:
    """Whether a folder, or one folder per split in it, has sub-folders with images for at least two classes."""
    return root.is_dir() and any(_num_classes(folder) >= 2 for folder, _ in _split_folders(root))


def list_image_folder(root: Path, problems: Problems) -> Listing:
    """List the images below ``<class>/`` or ``<split>/<class>/``. A split's folder has a name such as ``train``.

    Hidden files, and files without the ending of an image, are ignored.

    Args:
        root: Folder of the data.
        problems: Receives the problems: a class without images, or one that the training split lacks.

    Returns:
        The images in the order of their names. The classes are in alphabetical order.

    Raises:
        DataError: If there are no images, or a class has a problem and problems are not collected.
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
                message = f"class folder {class_folder} holds no images; add some or remove the folder"
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
    # Alphabetical order even for numbers, as in torchvision: a network that was trained elsewhere expects it.
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
    """Find the image files in a folder and below it.

    Args:
        folder: The folder.
        problems: Notes the files that are not images.

    Yields:
        The image files in the order of their paths.
    """
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or path.name.startswith("."):
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield path
        else:
            problems.note(
                "ignored", f"{path} is ignored, because it does not have the ending of an image; remove or rename it"
            )


def _split_folders(root: Path) -> list[tuple[Path, int]]:
    """Return each split's folder with its split; the folder itself, without a split, if there are none."""
    found = [(folder, SPLIT_WORDS.get(folder.name.lower(), NO_SPLIT)) for folder in _sub_folders(root)]
    # A folder called 0, 1 or 2 is a class, although tables use these numbers for splits.
    named = [(folder, split) for folder, split in found if split != NO_SPLIT and not folder.name.isdecimal()]
    return sorted(named, key=lambda item: item[1]) if any(split == 0 for _, split in named) else [(root, NO_SPLIT)]


def _sub_folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _num_classes(folder: Path) -> int:
    return sum(
        any(path.suffix.lower() in IMAGE_SUFFIXES for path in class_folder.iterdir())
        for class_folder in _sub_folders(folder)
    )
