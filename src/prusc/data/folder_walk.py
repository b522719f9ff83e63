"""Image files in folders: which are found, and what is passed over and said."""

import os
from collections.abc import Iterator
from pathlib import Path

from prusc.data.images import IMAGE_SUFFIXES
from prusc.data.listing import Problems


def walk_images(folder: Path, problems: Problems, *, root: Path | None = None) -> Iterator[Path]:
    """Find the image files in a folder and below it.

    Links to folders inside the root are followed. Hidden folders, and links that lead out of it, are passed over.

    Args:
        folder: The folder; it may itself be a link.
        problems: Notes the files that are not images, and the folders that are passed over.
        root: Folder of the data; ``None`` is the folder itself.

    Yields:
        The image files in the order of their paths.
    """
    inside = (root or folder).resolve()
    files: list[Path] = []
    waiting = [(folder, frozenset((folder.resolve(),)))]
    while waiting:
        current, above = waiting.pop()
        for path in current.iterdir():
            if not path.is_dir():
                files.append(path)
            elif path.name.startswith("."):
                if number := count_images(path):
                    problems.remark(f"hidden folder {path} is passed over; it holds {number} images")
            elif not path.is_symlink():
                waiting.append((path, above | {path.resolve()}))
            elif (target := path.resolve()) in above:
                problems.note("link", f"{path} leads to a folder above itself, so it is passed over; remove the link")
            elif target.is_relative_to(inside):
                waiting.append((path, above | {target}))
            else:
                problems.note(
                    "link",
                    f"{path} is a link that leads out of {root or folder}, to {target}, so its {count_images(target)} "
                    "images are passed over; copy them there, or link the class folder itself",
                )
    for path in sorted(files):
        if path.name.startswith("."):
            continue
        if path.suffix.lower() in IMAGE_SUFFIXES:
            yield path
        else:
            problems.note(
                "ignored", f"{path} is ignored, because it does not have the ending of an image; remove or rename it"
            )


def sub_folders(folder: Path) -> list[Path]:
    """Return the folders in a folder that are not hidden, in the order of their names."""
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def images_in(folder: Path) -> list[Path]:
    """Return the image files that lie in a folder itself, in the order of their names."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    )


def holds_images(folder: Path) -> bool:
    """Whether an image file lies in a folder or below it."""
    return next(_all_images(folder), None) is not None


def count_images(folder: Path) -> int:
    """Count the image files in a folder and below it."""
    return sum(1 for _ in _all_images(folder))


def _all_images(folder: Path) -> Iterator[str]:
    for _, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from (name for name in files if name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith("."))
