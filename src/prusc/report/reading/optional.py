"""Files that a report can do without."""

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
        missing: A line for each file that could not be read, with what the report does without.
    """

    path: Path
    missing: list[str] = field(default_factory=list)

    def read(self, name: str, read: Callable[[Path], ContentT], what_for: str) -> ContentT | None:
        """Read a file that a report can do without; note it if it is missing and ``what_for`` says what is lost."""
        path = self.path / name
        try:
            return read(path)
        except FileNotFoundError:
            why = "is missing"
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, SyntaxError) as error:
            why = f"cannot be read ({describe_error(error)})"
        if what_for:
            self.missing.append(f"{name} {why}: the report does without {what_for}")
        return None


def describe_error(error: BaseException) -> str:
    """Return the class of an error and the first line of its message."""
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text[:200]}"


def read_json(path: Path) -> Any:
    """Return the content of a JSON file."""
    return json.loads(path.read_text("utf-8"))
