"""Reading of files that may be missing."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError

ContentT = TypeVar("ContentT")


@dataclass
class OptionalFiles:
    """Reads files of one folder and notes which are missing.

    Attributes:
        path: The folder.
        missing: One line per file that could not be read, with what the report therefore lacks.
    """

    path: Path
    missing: list[str] = field(default_factory=list)

    def read(self, name: str, read: Callable[[Path], ContentT], what_for: str) -> ContentT | None:
        """Read one file, and note it in `missing` if that fails.

        Args:
            name: Path of the file, relative to the folder.
            read: Reads it.
            what_for: What the report lacks without the file; if empty, a missing file is not noted.

        Returns:
            Its content; ``None`` if it is missing or cannot be read.
        """
        path = self.path / name
        try:
            return read(path)
        except FileNotFoundError:
            why = "is missing"
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, SyntaxError) as error:
            why = f"cannot be read ({describe_error(error)})"
        if what_for:
            self.missing.append(f"{name} {why}: the report lacks {what_for}")
        return None


def describe_error(error: BaseException) -> str:
    """Return the class of an error and the first line of its message."""
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text[:200]}"


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text("utf-8"))
