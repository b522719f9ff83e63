"""Folders named after the classes: torchvision's ImageFolder, with or without one folder per split above."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prusc.data.folder_walk import count_images, holds_images, images_in, sub_folders, walk_images
from prusc.data.listing import NO_SPLIT, Listing, Problems
from prusc.data.mask_files import is_mask_folder
from prusc.data.splits import SPLIT_WORDS
from prusc.data.table import SPLIT_NAMES
from prusc.data.values import number_values
from prusc.errors import ConfigError, nearest_names


def is_image_folder(root: Path) -> bool:
    """Whether a folder, or one folder per split in it, has sub-folders with images for at least two classes."""
    return root.is_dir() and any(
        sum(map(holds_images, sub_folders(part.folder))) >= 2 for part in _find_parts(root, ()).parts
    )


def list_image_folder(
    root: Path, problems: Problems, *, classes: Sequence[str] | None = None, mask_folders: Collection[Path] = ()
) -> Listing:
    """List the images below ``<class>/`` or ``<split>/<class>/``. A split's folder has a name such as ``train``.

    A folder with the name of a split is a split if class folders lie in it; else it is a class. Hidden files, and files
    without the ending of an image, are ignored. So is a folder of masks beside the class folders.

    Args:
        root: Folder of the data.
        problems: Receives the problems: a class without images, one that the training split lacks, and images that no
            split uses.
        classes: All classes, in their order; ``None`` takes the alphabetical order.
        mask_folders: Folders of masks that the user names.

    Returns:
        The images in the order of their names.

    Raises:
        ConfigError: If ``classes`` names a class that has no folder.
        DataError: If there are no images, or a class has a problem and problems are not collected.
    """
    found = _find_parts(root, mask_folders, classes or ())
    _report_unused(root, found, problems)
    images: list[Path] = []
    names: list[str] = []
    splits: list[int] = []
    for part in found.parts:
        for class_folder in _class_folders(part.folder, found.masks):
            before = len(images)
            for path in walk_images(class_folder, problems, root=root):
                images.append(path)
                names.append(class_folder.name)
                splits.append(part.split)
            if len(images) == before:
                message = f"class folder {class_folder} holds no images; add some or remove the folder"
                problems.add("class", message)
    trained = {name for name, split in zip(names, splits, strict=True) if split in (NO_SPLIT, 0)}
    for name in sorted(set(names) - trained):
        first = next(i for i, (c, s) in enumerate(zip(names, splits, strict=True)) if c == name and s > 0)
        problems.add(
            "label",
            f"class {name!r} of {SPLIT_NAMES[splits[first]]} has no folder with images in train, which has "
            f"{', '.join(sorted(trained)) or 'none'}; expected the same classes in every split: rename "
            f"{images[first].parent} or add training images",
        )
    kept = [index for index, name in enumerate(names) if name in trained]
    # Alphabetical order even for numbers, as in torchvision: a network that was trained elsewhere expects it.
    order = sorted(trained) if classes is None else _check_classes(classes, trained, root, problems)
    kept = [index for index in kept if names[index] in set(order)]
    labels, class_names = number_values([names[index] for index in kept], order)
    sample_ids = [images[index].relative_to(root).as_posix() for index in kept]
    return Listing(
        name=root.absolute().name,
        layout="imagefolder",
        root=root,
        source=f"folder {root}",
        sample_ids=tuple(sample_ids),
        images=tuple(images[index] for index in kept),
        places=tuple(str(images[index]) for index in kept),
        labels=labels,
        class_names=class_names,
        splits=np.array([splits[index] for index in kept], dtype=np.int64),
        attributes=np.zeros((len(kept), 0), dtype=np.int64),
        origin={"classes": list(class_names)},
    )


@dataclass(frozen=True)
class _Part:
    """A folder of class folders, and its split."""

    folder: Path
    split: int


@dataclass(frozen=True)
class _Found:
    """The folders of a data set: those of its splits, those of masks, and those that no split uses."""

    parts: tuple[_Part, ...]
    masks: frozenset[Path]
    others: tuple[Path, ...]


def _find_parts(root: Path, mask_folders: Collection[Path], classes: Collection[str] = ()) -> _Found:
    """Return each split's folder with its split; the folder itself, without a split, if there are none."""
    named = {folder.resolve() for folder in mask_folders}
    folders = sub_folders(root)
    masks = {folder for folder in folders if folder.resolve() in named}
    # A folder called 0, 1 or 2 is a class, although tables use these numbers for splits.
    of_splits = {
        folder: SPLIT_WORDS[folder.name.lower()]
        for folder in folders
        if folder.name.lower() in SPLIT_WORDS and not folder.name.isdecimal()
    }
    has_classes = {folder for folder in of_splits if any(map(holds_images, sub_folders(folder)))}
    if any(of_splits[folder] == 0 for folder in has_classes):
        parts = [_Part(folder, split) for folder, split in sorted(of_splits.items(), key=lambda item: item[1])]
    else:
        parts = [_Part(root, NO_SPLIT)]
    for part in parts:
        masks |= _masks_beside_classes(part.folder, classes) - masks
    used = {part.folder for part in parts} | masks
    others = () if parts[0].folder == root else tuple(folder for folder in folders if folder not in used)
    return _Found(tuple(parts), frozenset(masks), others)


def _masks_beside_classes(folder: Path, classes: Collection[str]) -> set[Path]:
    """Return the folders of masks. What they hold decides, because ``masks`` may be a class of faces."""
    folders = [sub for sub in sub_folders(folder) if holds_images(sub)]
    masks = {sub for sub in folders if sub.name not in classes and is_mask_folder(sub)}
    return masks if len(folders) - len(masks) >= 2 else set()


def _class_folders(folder: Path, masks: Collection[Path]) -> Iterator[Path]:
    return (sub for sub in sub_folders(folder) if sub not in masks)


def _report_unused(root: Path, found: _Found, problems: Problems) -> None:
    """Report the images that no split uses. A missing split must not be made while its images may lie elsewhere."""
    present = {part.split for part in found.parts}
    missing = [name for split, name in enumerate(SPLIT_NAMES) if split not in present]
    for folder in found.others:
        number = count_images(folder)
        if not number:
            continue
        message = f"{number} images of {folder} are in no split, because the folder has none of the usual names"
        if missing:
            problems.add(
                "unused",
                f"{message}; yet {' and '.join(missing)} would be made from training images: rename the folder to "
                f"{' or '.join(missing)}, or move it elsewhere",
            )
        else:
            problems.note("unused", f"{message}; move it elsewhere")
    for part in found.parts:
        loose = len(images_in(part.folder))
        if not loose:
            continue
        message = f"{loose} images of {part.folder} are in no class folder"
        has_classes = any(holds_images(folder) for folder in _class_folders(part.folder, found.masks))
        if part.split != NO_SPLIT and not has_classes:
            problems.add(
                "unused",
                f"{message}, so the split {SPLIT_NAMES[part.split]} has no labels; expected {part.folder}/CLASS/...: "
                "sort them into class folders, or move the folder elsewhere to have the split made",
            )
        else:
            problems.note("unused", f"{message}, so they are not used; move them into one, or elsewhere")
    if found.parts[0].folder != root and (loose := len(images_in(root))):
        problems.note("unused", f"{loose} images of {root} are in no split and no class folder; move them elsewhere")
    for folder in sorted(found.masks):
        problems.remark(f"folder {folder} holds masks, so it is no class (data_options.classes names it otherwise)")


def _check_classes(classes: Sequence[str], trained: set[str], root: Path, problems: Problems) -> list[str]:
    """Check that the given classes are those that have a folder, and return them."""
    for name in classes:
        if name not in trained:
            raise ConfigError(
                f"data_options.classes names {name!r}, for which {root} has no folder with training images"
                f"{nearest_names(name, trained)}; it has {', '.join(sorted(trained))}"
            )
    if len(set(classes)) < len(classes):
        raise ConfigError(f"data_options.classes names a class twice ({', '.join(classes)}); expected each once")
    for name in sorted(trained - set(classes)):
        problems.add(
            "label",
            f"class folder {name!r} of {root} is not among data_options.classes ({', '.join(classes)}); add it there, "
            "or move the folder elsewhere",
        )
    return list(classes)
