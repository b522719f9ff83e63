"""Remedies for one test, registered as those of the package are: a module, and a line that names it."""

import sys
from types import ModuleType

import pytest

from prusc.methods import Method, registry


def register_method(monkeypatch: pytest.MonkeyPatch, method: Method) -> None:
    """Make a remedy known by its name until the test is over."""
    module = ModuleType(f"prusc.methods.{method.name}")
    module.METHOD = method  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(registry._PLACES, method.name, f"{method.name}.METHOD")
