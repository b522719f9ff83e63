"""Conversion of configs to plain values, which TOML can hold, and back."""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from prusc.errors import ConfigError, nearest_names

ConfigT = TypeVar("ConfigT")

# Stands for None: TOML has no null, and a setting that is left out has its default.
_NONE = "none"


def config_to_dict(config: Any) -> dict[str, Any]:
    """Turn a config into plain values that TOML can hold.

    A setting that is ``None`` is left out if that is its default; otherwise it is written as ``"none"``.

    Args:
        config: Any config dataclass; nested configs become nested dicts.

    Returns:
        Names of the settings and their plain values.
    """
    plain: dict[str, Any] = {}
    for item in fields(config):
        value = getattr(config, item.name)
        if is_dataclass(value):
            plain[item.name] = config_to_dict(value)
        elif isinstance(value, Path):
            plain[item.name] = str(value)
        elif isinstance(value, tuple):
            plain[item.name] = list(value)
        elif value is not None:
            plain[item.name] = value
        elif item.default is not None:
            plain[item.name] = _NONE
    return plain


def config_from_dict(kind: type[ConfigT], values: Mapping[str, Any], *, where: str = "") -> ConfigT:
    """Turn plain values, as `config_to_dict` returns them, into a config. Settings that are absent get their defaults.

    Args:
        kind: Class of the config.
        values: Plain values by the setting's name.
        where: Prefix of the setting's name in an error.

    Returns:
        The config.

    Raises:
        ConfigError: If a setting is unknown, of the wrong type or out of range.
    """
    types = get_type_hints(kind)
    known = {item.name for item in fields(kind)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for name, value in values.items():
        if name not in known:
            raise ConfigError(f"unknown setting {where}{name}{nearest_names(name, known)}")
        expected = types[name]
        if isinstance(expected, type) and is_dataclass(expected):
            if not isinstance(value, Mapping):
                raise ConfigError(f"setting {where}{name} must be a table of settings, found {value!r}")
            arguments[name] = config_from_dict(expected, value, where=f"{where}{name}.")
        else:
            arguments[name] = _convert(value, expected, f"{where}{name}")
    return kind(**arguments)


def _convert(value: Any, expected: Any, name: str) -> Any:
    """Check one plain value against its annotation; turn lists into tuples and strings into paths."""
    origin, options = get_origin(expected), get_args(expected)
    if origin in (Union, UnionType):
        inner = [option for option in options if option is not type(None)]
        if value == _NONE and type(None) in options and not {str, Path} & set(inner):
            return None
        # A value that is listed, such as a word beside numbers, comes before the other types.
        listed = [option for option in inner if get_origin(option) is Literal and value in get_args(option)]
        return value if listed else _convert(value, inner[0], name)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(item, options[0], name) for item in value)
    if origin is Literal and value in options:
        return value
    if expected is Path and isinstance(value, str | Path):
        return Path(value)
    if expected is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(expected, type) and type(value) is expected:
        return value
    wanted = f"one of {', '.join(map(repr, options))}" if origin is Literal else getattr(expected, "__name__", expected)
    raise ConfigError(f"setting {name} must be {wanted}, found {value!r}")
