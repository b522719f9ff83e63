"""How a run or an audit was made: its settings, and the command that repeats it."""

import shlex
from dataclasses import fields, is_dataclass
from typing import Any

from prusc.config import RunConfig
from prusc.report.modularity_record import ModularityRecord
from prusc.report.record import RunRecord
from prusc.runs.folder import CONFIG


def list_settings(config: RunConfig) -> list[tuple[str, str, bool]]:
    """Return name, value and whether it differs from the default for each setting; changed settings come first."""
    rows = _flatten(config, RunConfig(), "")
    return sorted(rows, key=lambda row: not row[2])


def _flatten(config: Any, default: Any, prefix: str) -> list[tuple[str, str, bool]]:
    rows = []
    for item in fields(config):
        value, usual = getattr(config, item.name), getattr(default, item.name)
        if is_dataclass(value):
            rows += _flatten(value, usual, f"{prefix}{item.name}.")
        else:
            rows.append((f"{prefix}{item.name}", _show(value), value != usual))
    return rows


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_show, value)) or "none"
    return "not given" if value is None else str(value)


def repeat_command(run: RunRecord | ModularityRecord, command: str) -> str:
    """Return the command line that repeats a run, an audit or masks of functions in another folder."""
    config = run.path / CONFIG
    return f"prusc {command} --config {shlex.quote(str(config))} --out {shlex.quote(f'{run.path}-again')}"
