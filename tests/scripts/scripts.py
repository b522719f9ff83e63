"""Import scripts and benchmarks, which are no package."""

from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(path for folder in ("scripts", "benchmarks") for path in (ROOT / folder).glob("*.py"))


def import_script(monkeypatch: pytest.MonkeyPatch, name: str, folder: str = "scripts") -> ModuleType:
    """Import a script, which finds its neighbours as when it runs."""
    monkeypatch.syspath_prepend(ROOT / folder)
    return import_module(name)
