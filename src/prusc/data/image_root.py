"""Image files that a table may name: files inside the data set's own folder, and no others."""

import os
from contextlib import nullcontext
from pathlib import Path, PurePosixPath, PureWindowsPath

from prusc.data.images import IMAGE_SUFFIXES
from prusc.errors import DataError

IMAGE_FOLDER_NAMES = ("images", "image", "imgs", "img")
_MASK_FOLDER_NAMES = ("masks", "mask", "segmentations")


class ImageRoot:
    """Finds image files by the names that a table gives them.

    A name is a path relative to the folder or to its sub-folder ``images`` or ``img``. It may also be relative to any
    other sub-folder, if only one of them has such a file. Folders of masks are not searched, because masks have the
    same names. The ending may be left out, and backslashes may separate folders. A path may be absolute if it lies
    inside the folder.

    Args:
        folder: Folder that the names are relative to.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._starts = [folder, *(folder / name for name in IMAGE_FOLDER_NAMES if (folder / name).is_dir())]
        # The folder of the images may be a link, such as to a larger disk.
        self._reals = [start.resolve() for start in self._starts]
        self._others = [folder / name for name in _other_folders(folder)]
        self._inside: dict[Path, bool] = {}
        self._entries: dict[Path, dict[str, bool]] = {}
        self._stems: dict[Path, dict[str, list[str]]] = {}

    def find(self, name: str) -> Path | None:
        """Find the file of a name.

        Args:
            name: Name in a table.

        Returns:
            The file, or ``None`` if it does not exist.

        Raises:
            DataError: If the name leads out of the folder or fits several files. The message does not state the row.
        """
        name = self._make_relative(name)
        self._check_name(name)
        if self._find_below(self.folder, name) is None:
            # Windows separates folders by backslashes.
            name = name.replace("\\", "/")
        found = next(filter(None, (self._find_below(start, name) for start in self._starts)), None)
        if found is None:
            elsewhere = [path for path in (self._find_below(start, name) for start in self._others) if path is not None]
            if len(elsewhere) > 1:
                places = ", ".join(str(path.relative_to(self.folder)) for path in elsewhere)
                raise DataError(f"{name!r} fits several files ({places}); expected a path relative to {self.folder}")
            found = elsewhere[0] if elsewhere else None
        if found is not None:
            self._check_inside(found, name)
        return found

    def _make_relative(self, name: str) -> str:
        """Return an absolute path inside the folder as a relative one, and any other name as it is."""
        for folder in {self.folder.absolute(), self.folder.resolve()}:
            if PurePosixPath(name).is_relative_to(folder):
                return str(PurePosixPath(name).relative_to(folder))
        return name

    def _check_name(self, name: str) -> None:
        # Tables are copied between systems, so a path that is absolute on either of them is refused.
        windows = PureWindowsPath(name)
        if not name or "\0" in name:
            raise DataError(f"{name!r} is not a file name; expected a path relative to {self.folder}")
        if PurePosixPath(name).is_absolute() or windows.is_absolute() or windows.drive or windows.root:
            raise DataError(
                f"{name!r} is an absolute path that leads out of {self.folder}; expected one inside it: name the "
                "folder that holds the images (data_options.image_folder)"
            )
        if ".." in windows.parts:
            raise DataError(f"{name!r} contains '..'; expected a path that stays inside {self.folder}")

    def _find_below(self, start: Path, name: str) -> Path | None:
        wanted = start / name
        return self._find_exactly(wanted) or self._find_without_ending(wanted)

    def _find_exactly(self, wanted: Path) -> Path | None:
        return wanted if wanted.name in self._list(wanted.parent) else None

    def _find_without_ending(self, wanted: Path) -> Path | None:
        if wanted.suffix.lower() in IMAGE_SUFFIXES:
            return None
        if wanted.parent not in self._stems:
            stems = self._stems[wanted.parent] = {}
            for entry in self._list(wanted.parent):
                if PurePosixPath(entry).suffix.lower() in IMAGE_SUFFIXES:
                    stems.setdefault(PurePosixPath(entry).stem, []).append(entry)
        found = self._stems[wanted.parent].get(wanted.name, [])
        if len(found) > 1:
            raise DataError(
                f"{wanted.name!r} fits several files ({', '.join(sorted(found))}); expected the name with its ending"
            )
        return wanted.parent / found[0] if found else None

    def _list(self, folder: Path) -> dict[str, bool]:
        """Return the names in a folder, and whether each of them is a link."""
        if folder not in self._entries:
            try:
                with os.scandir(folder) as entries:
                    self._entries[folder] = {entry.name: entry.is_symlink() for entry in entries}
            except OSError:
                self._entries[folder] = {}
        return self._entries[folder]

    def _check_inside(self, path: Path, name: str) -> None:
        parent = path.parent
        if parent not in self._inside:
            self._inside[parent] = self._is_inside(parent)
        is_link = self._list(parent)[path.name]
        if not self._inside[parent] or (is_link and not self._is_inside(path)):
            raise DataError(
                f"{name!r} is reached through a link that leads out of {self.folder}; expected a file inside it: "
                "copy it there, or name the folder that holds the images (data_options.image_folder)"
            )

    def _is_inside(self, path: Path) -> bool:
        real = path.resolve()
        return any(real.is_relative_to(folder) for folder in self._reals)


def _other_folders(folder: Path) -> list[str]:
    # A folder may hold hundreds of thousands of images, so no system call is made for each of them.
    with os.scandir(folder) if folder.is_dir() else nullcontext(()) as entries:
        names = [entry.name for entry in entries if entry.is_dir()]
    return sorted(set(names) - {*IMAGE_FOLDER_NAMES, *_MASK_FOLDER_NAMES})
