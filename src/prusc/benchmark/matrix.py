"""What a benchmark runs: methods, data, networks and seeds, read from TOML and spread out into cells."""

import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from prusc.benchmark.suites import FOLDER, suite_names
from prusc.config import RunConfig, config_from_dict, config_to_dict
from prusc.config.presets import get_preset
from prusc.errors import ConfigError, PruscError, nearest_names
from prusc.methods import METHODS, find_method

ALL_METHODS = "all"
REFERENCE = "erm"
_KEYS = {"about": str, "methods": list, "seeds": list, "settings": dict, "data": dict, "network": dict}
_AXES = ("method", "seed")


@dataclass(frozen=True)
class Cell:
    """One run of a benchmark.

    Attributes:
        data: Name of the data in the matrix.
        network: Name of the network in the matrix.
        config: Every setting, the method and the seed among them.
    """

    data: str
    network: str
    config: RunConfig

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.config.method

    @property
    def path(self) -> Path:
        """Its run folder, from the folder of the benchmark."""
        return Path(_file_name(self.data), _file_name(self.network), self.method, f"seed-{self.config.seed}")

    @property
    def original(self) -> "Cell":
        """The run whose ERM network and clusters it shares; it ends before any remedy."""
        return replace(self, config=replace(self.config, method=REFERENCE, method_options=()))

    @property
    def original_path(self) -> Path:
        """The run folder of that one, from the folder of the benchmark."""
        return self.path.parents[1] / "original" / self.path.name

    def __str__(self) -> str:
        return f"{self.method} on {self.data}, {self.network}, seed {self.config.seed}"


@dataclass(frozen=True)
class Matrix:
    """The axes of a benchmark and the settings that its cells share.

    Attributes:
        name: Of the suite or file.
        methods: Names of the remedies; ERM is always among them.
        seeds: One run each.
        data: Settings by the name of the data.
        network: Settings by the name of the network; they win over those of the data.
        settings: Those of every cell; those of the data win over them. In each of the three, ``preset`` names settings
            that all the others win over.
        about: What it is for, in a sentence.
    """

    name: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    data: Mapping[str, Mapping[str, Any]]
    network: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""

    def __post_init__(self) -> None:
        for axis in ("methods", "seeds", "data", "network"):
            if not getattr(self, axis):
                raise ConfigError(f"{self.name}: {axis} is empty or missing; a benchmark needs at least one of them")
        for axis in ("methods", "seeds"):
            values = getattr(self, axis)
            doubled = next((value for value in values if values.count(value) > 1), None)
            if doubled is not None:
                raise ConfigError(f"{self.name}: {doubled!r} is named twice in {axis}; two cells would have one name")
        if REFERENCE not in self.methods:
            # Costs and differences are relative to it, and its network is made anyway.
            object.__setattr__(self, "methods", (REFERENCE, *self.methods))

    def cells(self) -> tuple[Cell, ...]:
        """Return every cell, those of one data set and network together.

        Raises:
            ConfigError: If a method or setting is unknown, out of range or in the wrong place, or two cells have one
                name.
        """
        for method in self.methods:
            _explained(self.name, partial(find_method, method))
        cells = [
            Cell(data, network, replace(config, method=method, seed=seed))
            for data in self.data
            for network in self.network
            for config in [self._config(data, network)]
            for method in self.methods
            for seed in self.seeds
        ]
        paths: dict[Path, Cell] = {}
        for cell in cells:
            other = paths.setdefault(cell.path, cell)
            if other is not cell:
                raise ConfigError(
                    f"{self.name}: two cells have one name: {other} and {cell} would both be in {cell.path}; give "
                    "their data or networks other names"
                )
        return tuple(cells)

    def _config(self, data: str, network: str) -> RunConfig:
        for axis, name in (("data", data), ("network", network)):
            if not re.search(r"\w", name):
                raise ConfigError(f"{self.name}: {axis} {name!r} has no letter or digit; give it a name")
        tables = {
            "[settings]": self.settings,
            f"[data.{data}]": {"data": data, **self.data[data]},
            f"[network.{network}]": {"model": network, **self.network[network]},
        }
        presets = [table["preset"] for table in tables.values() if "preset" in table]
        merged: dict[str, Any] = {}
        for preset in presets:
            merged = _merge(merged, config_to_dict(_explained(self.name, partial(get_preset, preset))))
        for title, table in tables.items():
            for axis in _AXES:
                if axis in table:
                    raise ConfigError(f"{self.name}: {title} sets {axis}; list it in {axis}s, which every cell goes by")
            merged = _merge(merged, {key: value for key, value in table.items() if key != "preset"})
        config: RunConfig = _explained(
            f"{self.name}, {' with '.join(list(tables)[1:])}", lambda: config_from_dict(RunConfig, merged)
        )
        return config


def read_suite(name: str) -> Matrix:
    """Read a suite of the package.

    Raises:
        ConfigError: If there is none of this name, or it needs an environment variable that is not set.
    """
    known = suite_names()
    if name not in known:
        raise ConfigError(f"unknown suite {name!r}{nearest_names(name, known)}; the suites are {', '.join(known)}")
    return parse_matrix((FOLDER / f"{name}.toml").read_text("utf-8"), name)


def read_matrix(path: Path) -> Matrix:
    """Read a matrix from a TOML file of the form of the suites.

    Raises:
        ConfigError: If it cannot be read or is not of this form.
    """
    try:
        return parse_matrix(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"matrix {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"matrix {path} is no text in UTF-8: {error}") from error


def parse_matrix(text: str, name: str) -> Matrix:
    """Read a matrix from TOML.

    In a text, ``${NAME}`` stands for an environment variable, and ``${NAME:-ELSE}`` for ELSE where that is not set.

    Args:
        text: The TOML.
        name: What errors and tables call it.

    Raises:
        ConfigError: If it is not of the form of the suites.
    """
    try:
        content = _expand(tomllib.loads(text), name)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: no valid TOML: {error}") from error
    for key, value in content.items():
        if key not in _KEYS:
            raise ConfigError(
                f"{name}: unknown key {key!r}{nearest_names(key, _KEYS)}; the keys are {', '.join(_KEYS)}"
            )
        if not isinstance(value, _KEYS[key]):
            expected = {str: "a text", list: "a list", dict: "a table"}[_KEYS[key]]
            raise ConfigError(f"{name}: {key} must be {expected}, found {value!r}")
    for axis in ("data", "network"):
        for entry, table in content.get(axis, {}).items():
            if not isinstance(table, dict):
                raise ConfigError(f"{name}: {axis}.{entry} must be a table of settings, found {table!r}")
    return Matrix(
        name=name,
        methods=_choose_methods(content.get("methods", []), name),
        seeds=_list_of(int, content.get("seeds", []), f"{name}: seeds", "whole numbers"),
        data=content.get("data", {}),
        network=content.get("network", {}),
        settings=content.get("settings", {}),
        about=content.get("about", ""),
    )


def narrow(matrix: Matrix, *, methods: Iterable[str] | None = None, seeds: Iterable[int] | None = None) -> Matrix:
    """Return a matrix with other methods or seeds; ``None`` leaves them."""
    chosen = matrix.methods if methods is None else _choose_methods(list(methods), matrix.name)
    return replace(matrix, methods=chosen, seeds=matrix.seeds if seeds is None else tuple(seeds))


def matrix_to_dict(matrix: Matrix) -> dict[str, Any]:
    """Turn a matrix into what its TOML file holds."""
    return {
        "about": matrix.about,
        "methods": list(matrix.methods),
        "seeds": list(matrix.seeds),
        "settings": dict(matrix.settings),
        "data": {name: dict(table) for name, table in matrix.data.items()},
        "network": {name: dict(table) for name, table in matrix.network.items()},
    }


def _file_name(name: str) -> str:
    """Return a name that is good for a folder everywhere."""
    return re.sub(r"[^\w.]+", "-", name).strip("-.")


def _choose_methods(names: list[Any], where: str) -> tuple[str, ...]:
    chosen = _list_of(str, names, f"{where}: methods", "names")
    return tuple(METHODS) if chosen == (ALL_METHODS,) else chosen


def _list_of(kind: type, values: list[Any], name: str, what: str) -> tuple[Any, ...]:
    for value in values:
        if type(value) is not kind:
            raise ConfigError(f"{name} must be a list of {what}, found {value!r} in it")
    return tuple(values)


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = _merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def _expand(value: Any, name: str) -> Any:
    """Put in the environment variables."""
    if isinstance(value, dict):
        return {key: _expand(item, name) for key, item in value.items()}
    if isinstance(value, list):
        return [_expand(item, name) for item in value]
    if not isinstance(value, str):
        return value

    def look_up(match: re.Match[str]) -> str:
        variable, default = match[1], match[2]
        found = os.environ.get(variable) or default
        if found is None:
            raise ConfigError(
                f"{name}: {value!r} names the environment variable {variable}, which is not set; set it to the folder "
                "that is meant"
            )
        return str(found)

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", look_up, value)


def _explained(where: str, action: Any) -> Any:
    """Do something and say, in its error, where in the matrix that was."""
    try:
        return action()
    except PruscError as error:
        raise ConfigError(f"{where}: {error}") from error
