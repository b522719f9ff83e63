"""The version of prusc, of an installed package or of a checkout that is not installed."""

import tomllib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


def find_version() -> str:
    """Return the version of the installed package; in a bare checkout, that of its ``pyproject.toml``."""
    try:
        return version("prusc")
    except PackageNotFoundError:
        project = Path(__file__).resolve().parents[3] / "pyproject.toml"
        try:
            return str(tomllib.loads(project.read_text("utf-8"))["project"]["version"])
        except (OSError, ValueError, KeyError):
            return "unknown"
