"""Check and describe the settings of methods."""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from prusc.config.checks import require


def require_positive(settings: Any, *names: str) -> None:
    """Check that settings are finite and greater than 0, unless they are ``None``.

    Raises:
        ConfigError: If one is not.
    """
    _require(settings, names, lambda value: 0 < value < math.inf, "greater than 0")


def require_not_negative(settings: Any, *names: str) -> None:
    """Check that settings are finite and at least 0; otherwise like `require_positive`."""
    _require(settings, names, lambda value: 0 <= value < math.inf, "at least 0")


def require_share(settings: Any, *names: str) -> None:
    """Check that settings are in [0, 1]; otherwise like `require_positive`."""
    _require(settings, names, lambda value: 0 <= value <= 1, "in [0, 1]")


def _require(settings: Any, names: Sequence[str], is_allowed: Callable[[float], bool], expected: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is not None:
            require(is_allowed(value), name, value, expected)


def describe_settings(settings: Any) -> str:
    """Return a short name of some settings: the values that differ from the defaults of their class."""
    default = type(settings)()
    changed = {f.name: getattr(settings, f.name) for f in fields(settings)}
    changed = {name: value for name, value in changed.items() if value != getattr(default, name)}
    return ", ".join(f"{name}={value}" for name, value in changed.items()) or "defaults"
