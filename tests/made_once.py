"""Folders that several tests look at, made once a session."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock


def make_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]) -> Path:
    """Make a folder once for all workers of pytest-xdist, which share the parent of their temporary folders."""
    own = factory.getbasetemp()
    root = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "shared"
    root.mkdir(exist_ok=True)
    folder, mark = root / name, root / f"{name}.made"
    with FileLock(root / f"{name}.lock"):
        if not mark.exists():
            make(folder)
            mark.touch()
    return folder
