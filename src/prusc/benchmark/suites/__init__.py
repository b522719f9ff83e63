"""The matrices that come with the package, each a TOML file here."""

from importlib import resources
from importlib.resources.abc import Traversable

FOLDER: Traversable = resources.files(__name__)


def suite_names() -> list[str]:
    """Return the names of the suites."""
    return sorted(file.name.removesuffix(".toml") for file in FOLDER.iterdir() if file.name.endswith(".toml"))
