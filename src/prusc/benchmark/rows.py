"""One row per cell: the chosen setting, its selection rule, its results on the test split and its cost."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from prusc.benchmark.matrix import Cell
from prusc.methods import Method, find_method
from prusc.runs.artifacts import evaluation_from_dict
from prusc.runs.folder import METRICS

COLUMNS = (
    "method",
    "title",
    "needs",
    "trains_on_validation",
    "data",
    "network",
    "seed",
    "rule",
    "judged_by",
    "setting",
    "average_accuracy",
    "worst_group_accuracy",
    "ci95_low",
    "ci95_high",
    "num_samples_worst_group",
    "balanced_accuracy",
    "density",
    "seconds",
    "cost",
    "verdict",
    "folder",
)


def read_rows(cells: Iterable[Cell], out: Path) -> pd.DataFrame:
    """Return the rows of the finished cells.

    Args:
        cells: Cells in the order of the rows.
        out: Folder of the benchmark.

    Returns:
        A table with the columns `COLUMNS`.
    """
    rows = [read_row(cell, out) for cell in cells if (out / cell.path / METRICS).is_file()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_row(cell: Cell, out: Path) -> dict[str, Any]:
    """Return the row of a finished cell."""
    metrics = json.loads((out / cell.path / METRICS).read_text("utf-8"))
    method = find_method(cell.method)
    family = method.family
    test = evaluation_from_dict(metrics["results"][family]["test"])
    seconds = training_seconds(method, metrics["seconds"])
    return {
        "method": cell.method,
        "title": method.title,
        "needs": method.group_labels,
        "trains_on_validation": method.fits_validation(cell.config),
        "data": cell.data,
        "network": cell.network,
        "seed": cell.config.seed,
        "rule": cell.config.selection.rule,
        "judged_by": metrics["judged_by"],
        "setting": metrics["chosen"][family],
        "average_accuracy": test.average_accuracy,
        "worst_group_accuracy": test.worst_group_accuracy,
        "ci95_low": test.worst_group_ci95[0],
        "ci95_high": test.worst_group_ci95[1],
        "num_samples_worst_group": test.worst_group.num_samples,
        "balanced_accuracy": test.balanced_accuracy,
        "density": metrics["density"],
        "seconds": round(seconds, 3),
        "cost": round(seconds / metrics["seconds"]["erm"], 3),
        "verdict": metrics.get("verdict", ""),
        "folder": cell.path.as_posix(),
    }


def training_seconds(method: Method, seconds: Mapping[str, float]) -> float:
    """Return the training time of a method, over all settings that it tried.

    A method that starts from the ERM network also pays for its training, even if other cells share it. PruSC also pays
    for the clusters, which other methods only use for selection.

    Args:
        method: The method.
        seconds: Wall time by stage.

    Returns:
        Seconds without the evaluation.
    """
    if method.name == "erm":
        return seconds["erm"]
    return sum(value for stage, value in seconds.items() if stage not in method.shared_stages)
