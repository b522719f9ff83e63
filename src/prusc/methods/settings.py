"""The settings of remedies: what they may be, and what they are called."""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any

from prusc.config.checks import require


def require_positive(settings: Any, *names: str) -> None:
    """Refuse settings that have to be greater than 0 and are not; one that is ``None`` is not looked at.

    Raises:
        ConfigError: If there is such a setting.
    """
    _require(settings, names, lambda value: 0 < value < math.inf, "greater than 0")


def require_not_negative(settings: Any, *names: str) -> None:
    """As `require_positive`, and 0 will do."""
    _require(settings, names, lambda value: 0 <= value < math.inf, "at least 0")


def require_share(settings: Any, *names: str) -> None:
    """As `require_positive`, for what has to be in [0, 1]."""
    _require(settings, names, lambda value: 0 <= value <= 1, "in [0, 1]")


def _require(settings: Any, names: Sequence[str], is_allowed: Callable[[float], bool], expected: str) -> None:
    for name in names:
        value = getattr(settings, name)
        if value is not None:
            require(is_allowed(value), name, value, expected)


def describe_settings(settings: Any) -> str:
    """Return a short name of a setting: what differs from the defaults of its class."""
    default = type(settings)()
    changed = {f.name: getattr(settings, f.name) for f in fields(settings)}
    changed = {name: value for name, value in changed.items() if value != getattr(default, name)}
    return ", ".join(f"{name}={value}" for name, value in changed.items()) or "defaults"
