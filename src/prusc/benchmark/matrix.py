"""The matrix of a benchmark: methods, data, networks and seeds, read from TOML and expanded into cells."""

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
CEILING = "erm-unbiased"
_KEYS = {
    "about": str,
    "methods": list,
    "seeds": list,
    "settings": dict,
    "data": dict,
    "network": dict,
    "variant": dict,
}
# What the shared run of a cell depends on.
_OF_ORIGINAL = (
    *("data", "layout", "skip_bad", "model", "weights", "pretrained", "trained"),
    *("data_options", "erm", "clustering", "pseudo_attribute", "runtime"),
)
_AXES = ("method", "seed")
_INITIAL = {"weights", "pretrained", "trained"}


@dataclass(frozen=True)
class Cell:
    """One run of a benchmark.

    Attributes:
        data: Name of the data in the matrix.
        network: Name of the network in the matrix.
        config: All settings, including method and seed.
        variant: Name of its row, if it is a variant of the method; empty if not.
        title: Title of the variant.
        has_own_original: Whether the variant needs another ERM network than the other cells, or other clusters.
    """

    data: str
    network: str
    config: RunConfig
    variant: str = ""
    title: str = ""
    has_own_original: bool = False

    @property
    def method(self) -> str:
        """Name of the method."""
        return self.config.method

    @property
    def path(self) -> Path:
        """Its run folder, relative to the folder of the benchmark."""
        return Path(_file_name(self.data), _file_name(self.network), self.name, f"seed-{self.config.seed}")

    @property
    def name(self) -> str:
        """Name of its row: the variant, or the method."""
        return self.variant or self.method

    @property
    def original(self) -> "Cell":
        """The run that provides the ERM network and the clusters; cells of one seed share it."""
        return replace(self, config=replace(self.config, method=REFERENCE, method_options=()))

    @property
    def original_path(self) -> Path:
        """The run folder of `original`, relative to the folder of the benchmark."""
        kind = f"original-{self.variant}" if self.has_own_original else "original"
        return self.path.parents[1] / kind / self.path.name

    def __str__(self) -> str:
        return f"{self.name} on {self.data}, {self.network}, seed {self.config.seed}"


@dataclass(frozen=True)
class Matrix:
    """The axes of a benchmark and the settings that its cells share.

    Attributes:
        name: Name of the suite or file.
        methods: Names of the methods; always includes ERM.
        seeds: Seeds; each makes one run.
        data: Settings by name of the data, which is also where they come from, unless ``data`` or a preset says so.
        network: Settings by name of the network, which is also its model, unless ``model`` or a preset says so; they
            override those of the data.
        settings: Settings of every cell; those of the data override them. In all three tables, ``preset`` names a
            preset, which all other settings override.
        variant: Further rows by name: a ``method`` with other settings, and a ``title``. They override those of the
            network. The key ``unbiased`` of a data set makes another one: ERM on data without the shortcut.
        about: Purpose of the benchmark, in a sentence.
    """

    name: str
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    data: Mapping[str, Mapping[str, Any]]
    network: Mapping[str, Mapping[str, Any]]
    settings: Mapping[str, Any] = field(default_factory=dict)
    about: str = ""
    variant: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for axis in ("methods", "seeds", "data", "network"):
            if not getattr(self, axis):
                raise ConfigError(f"{self.name}: {axis} is empty or missing; name at least one")
        for axis in ("methods", "seeds"):
            values = getattr(self, axis)
            doubled = next((value for value in values if values.count(value) > 1), None)
            if doubled is not None:
                raise ConfigError(f"{self.name}: {doubled!r} appears twice in {axis}; two cells would share one name")
        if REFERENCE not in self.methods:
            # Costs and differences are relative to ERM, and every cell needs its network anyway.
            object.__setattr__(self, "methods", (REFERENCE, *self.methods))

    def cells(self) -> tuple[Cell, ...]:
        """Return every cell, grouped by data set and network.

        Raises:
            ConfigError: If a method or setting is unknown, out of range or in the wrong table, or if two cells share
                one name.
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
        cells += [
            replace(cell, config=replace(cell.config, seed=seed))
            for data in self.data
            for network in self.network
            for cell in self._variants(data, network)
            for seed in self.seeds
        ]
        paths: dict[Path, Cell] = {}
        for cell in cells:
            other = paths.setdefault(cell.path, cell)
            if other is not cell:
                raise ConfigError(
                    f"{self.name}: two cells share one name: {other} and {cell} would both use {cell.path}; rename "
                    "their data or networks"
                )
        return tuple(cells)

    def _variants(self, data: str, network: str) -> list[Cell]:
        """Return the cells of the variants of one data set and network, with any seed."""
        tables = dict(self.variant)
        if "unbiased" in self.data[data]:
            tables[CEILING] = {"title": "ERM, data without the shortcut", **self.data[data]["unbiased"]}
        found = []
        plain = self._config(data, network)
        for name, table in tables.items():
            if name in METHODS or not re.fullmatch(r"[\w.-]+", name):
                raise ConfigError(
                    f"{self.name}: variant {name!r} needs a name of its own, of letters, digits, dots and dashes"
                )
            settings = {key: value for key, value in table.items() if key not in ("method", "title")}
            config = self._config(data, network, {f"[variant.{name}]": settings})
            method = table.get("method", REFERENCE)
            _explained(f"{self.name}, variant {name}", partial(find_method, method))
            differs = any(getattr(config, key) != getattr(plain, key) for key in _OF_ORIGINAL)
            config = replace(config, method=method)
            found.append(Cell(data, network, config, name, str(table.get("title", name)), differs))
        return found

    def _config(self, data: str, network: str, more: Mapping[str, Mapping[str, Any]] | None = None) -> RunConfig:
        for axis, name in (("data", data), ("network", network)):
            if not re.search(r"\w", name):
                raise ConfigError(f"{self.name}: {axis} {name!r} has no letter or digit; give it a name")
        tables = {
            "[settings]": self.settings,
            f"[data.{data}]": _name_by_default(
                "data", data, {k: v for k, v in self.data[data].items() if k != "unbiased"}
            ),
            f"[network.{network}]": _name_by_default("model", network, self.network[network]),
            **(more or {}),
        }
        presets = [table["preset"] for table in tables.values() if "preset" in table]
        merged: dict[str, Any] = {}
        for preset in presets:
            merged = _merge(merged, config_to_dict(_explained(self.name, partial(get_preset, preset))))
        for title, table in tables.items():
            for axis in _AXES:
                if axis in table:
                    raise ConfigError(
                        f"{self.name}: {title} sets {axis}; list it in {axis}s, which applies to every cell"
                    )
            if _INITIAL & table.keys():
                # As on the command line, only one setting may name the initial weights.
                merged = {key: value for key, value in merged.items() if key not in _INITIAL}
            merged = _merge(merged, {key: value for key, value in table.items() if key != "preset"})
        config: RunConfig = _explained(
            f"{self.name}, {' with '.join(list(tables)[1:])}", lambda: config_from_dict(RunConfig, merged)
        )
        return config


def read_suite(name: str) -> Matrix:
    """Read a suite of the package.

    Raises:
        ConfigError: If no suite has this name, or it needs an environment variable that is not set.
    """
    known = suite_names()
    if name not in known:
        raise ConfigError(f"unknown suite {name!r}{nearest_names(name, known)}; the suites are {', '.join(known)}")
    return parse_matrix((FOLDER / f"{name}.toml").read_text("utf-8"), name)


def read_matrix(path: Path) -> Matrix:
    """Read a matrix from a TOML file.

    Raises:
        ConfigError: If the file cannot be read or is not a matrix.
    """
    try:
        return parse_matrix(path.read_text("utf-8"), str(path))
    except OSError as error:
        raise ConfigError(f"matrix {path} cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"matrix {path} is not UTF-8 text: {error}") from error


def parse_matrix(text: str, name: str) -> Matrix:
    """Read a matrix from TOML.

    In strings, ``${NAME}`` stands for an environment variable, and ``${NAME:-ELSE}`` for ELSE if it is not set.

    Args:
        text: The TOML.
        name: Name of the matrix in errors and tables.

    Raises:
        ConfigError: If the text is not a matrix.
    """
    try:
        content = _expand(tomllib.loads(text), name)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name}: not valid TOML: {error}") from error
    for key, value in content.items():
        if key not in _KEYS:
            raise ConfigError(
                f"{name}: unknown key {key!r}{nearest_names(key, _KEYS)}; the keys are {', '.join(_KEYS)}"
            )
        if not isinstance(value, _KEYS[key]):
            expected = {str: "a text", list: "a list", dict: "a table"}[_KEYS[key]]
            raise ConfigError(f"{name}: {key} must be {expected}, found {value!r}")
    for axis in ("data", "network", "variant"):
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
        variant=content.get("variant", {}),
    )


def narrow(matrix: Matrix, *, methods: Iterable[str] | None = None, seeds: Iterable[int] | None = None) -> Matrix:
    """Return a matrix with other methods or seeds; ``None`` keeps them. Other methods keep the variants they name."""
    names = list(matrix.methods) if methods is None else list(methods)
    variant = {name: table for name, table in matrix.variant.items() if methods is None or name in names}
    names = [name for name in names if name not in variant]
    chosen = _choose_methods(names, matrix.name) if names else (REFERENCE,)
    return replace(matrix, methods=chosen, variant=variant, seeds=matrix.seeds if seeds is None else tuple(seeds))


def matrix_to_dict(matrix: Matrix) -> dict[str, Any]:
    """Return a matrix as the content of its TOML file."""
    return {
        "about": matrix.about,
        "methods": list(matrix.methods),
        "seeds": list(matrix.seeds),
        "settings": dict(matrix.settings),
        "data": {name: dict(table) for name, table in matrix.data.items()},
        "network": {name: dict(table) for name, table in matrix.network.items()},
        "variant": {name: dict(table) for name, table in matrix.variant.items()},
    }


def _name_by_default(setting: str, name: str, table: Mapping[str, Any]) -> dict[str, Any]:
    """Return a table in which the name of the data or network is the setting, unless it or its preset says it."""
    if setting in table or "preset" in table:
        return dict(table)
    return {setting: name, **table}


def _file_name(name: str) -> str:
    """Return a name that is valid for a folder on every system."""
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
    """Replace environment variables in all strings."""
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
                "with the data"
            )
        return str(found)

    return re.sub(r"\$\{(\w+)(?::-([^}]*))?\}", look_up, value)


def _explained(where: str, action: Any) -> Any:
    """Call an action, and prefix its error with the place in the matrix."""
    try:
        return action()
    except PruscError as error:
        raise ConfigError(f"{where}: {error}") from error
