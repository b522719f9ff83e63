"""Reading of the folder of ``prusc modularity``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prusc.errors import RunFolderError
from prusc.report.modularity_record import ModularityRecord
from prusc.report.reading.metrics import read_outcome
from prusc.report.reading.optional import OptionalFiles, describe_error
from prusc.report.reading.run import read_run_config
from prusc.runs.folder import METRICS, MODULARITY
from prusc.stages.modularity.accuracy import AccuracyTable, MaskedAccuracy
from prusc.stages.modularity.class_removal import ClassRemoval, RemovedClass
from prusc.stages.modularity.comparison import Overlap, SharedWeights


def is_modularity(path: Path) -> bool:
    """Return whether a folder holds finished masks of functions, and no finished run."""
    return (path / MODULARITY).is_file() and not (path / METRICS).is_file()


def read_modularity(path: Path) -> ModularityRecord:
    """Read a folder of ``prusc modularity``.

    Raises:
        RunFolderError: If ``modularity.json`` is damaged, or a newer prusc wrote it.
        ConfigError: If the settings cannot be read.
    """
    files = OptionalFiles(path)
    outcome = read_outcome(path / MODULARITY, _read_parts)
    if not outcome:
        raise RunFolderError(f"{path} has no {MODULARITY}; repeat the same prusc modularity command to finish it")
    try:
        return ModularityRecord(
            path=path,
            outcome=outcome,
            config=read_run_config(path, outcome),
            log=files.read("log.txt", lambda file: file.read_text("utf-8", "replace"), "the log") or "",
            missing=tuple(files.missing),
            **_read_parts(outcome),
        )
    except (KeyError, TypeError) as error:
        raise RunFolderError(f"{path / MODULARITY} is not as prusc writes it ({describe_error(error)})") from error


def _read_parts(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return the objects that the file holds; raise if a part is missing or does not fit the others."""
    names = [function["name"] for function in outcome["functions"]]
    outcome["seconds"], outcome["left_out"], outcome["control"], outcome["by"], outcome["data"]["name"]
    parts: dict[str, Any] = {
        "accuracies": AccuracyTable(tuple(MaskedAccuracy(**entry) for entry in outcome["accuracies"])),
        "overlaps": tuple(Overlap(**entry) for entry in outcome["overlaps"]),
        "stability": tuple(Overlap(**entry) for entry in outcome["stability"]),
        "shares": tuple(SharedWeights(**entry) for entry in outcome["shares"]),
        "removal": None if outcome["removal"] is None else _read_removal(outcome["removal"]),
    }
    num_layers = len(outcome["layers"])
    expected = (num_layers * len(names) * (len(names) - 1) // 2, num_layers * len(names))
    found = (len(parts["overlaps"]), len(parts["stability"]))
    if found != expected:
        raise ValueError(f"{found} overlaps, expected {expected}")
    return parts


def _read_removal(values: Mapping[str, Any]) -> ClassRemoval:
    removed = tuple(
        RemovedClass(
            **{
                **entry,
                "confusion": _as_tuples(entry["confusion"]),
                "drop_ci95": tuple(entry["drop_ci95"]),
                "other_drop_ci95": tuple(entry["other_drop_ci95"]),
            }
        )
        for entry in values["removed"]
    )
    return ClassRemoval(tuple(values["class_names"]), _as_tuples(values["before"]), removed)


def _as_tuples(matrix: list[list[int]]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in matrix)
