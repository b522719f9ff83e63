"""One row per cell: the chosen setting, its selection rule, its results on the test split and its cost."""

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from prusc.benchmark.intervals import worst_group_interval
from prusc.benchmark.matrix import CEILING, Cell
from prusc.methods import Method, find_method
from prusc.runs.artifacts import evaluation_from_dict
from prusc.runs.folder import METRICS

CHOICES = ("groups", "own", "best")
"""Other choices among the same candidates: by true validation groups, by the paper's own rule, and the best on test."""

MEASURES = ("average", "worst_group", "conflicting")

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
    "num_groups",
    "num_samples_smallest_group",
    "balanced_accuracy",
    "aligned_accuracy",
    "conflicting_accuracy",
    "num_candidates",
    *(f"{choice}_{measure}_accuracy" for choice in CHOICES for measure in MEASURES),
    "density",
    "seconds",
    "cost",
    "verdict",
    "version",
    "family",
    "folder",
)

HEADS = "prusc-heads"
"""Name of the row for the best head of the whole network, which PruSC fits with the same data and strengths."""


def read_rows(cells: Iterable[Cell], out: Path) -> pd.DataFrame:
    """Return the rows of the finished cells.

    Args:
        cells: Cells in the order of the rows.
        out: Folder of the benchmark.

    Returns:
        A table with the columns `COLUMNS`.
    """
    rows: list[dict[str, Any]] = []
    for cell in cells:
        if (out / cell.path / METRICS).is_file():
            rows += read_cell(cell, out)
    return pd.DataFrame(rows, columns=list(COLUMNS))


def read_cell(cell: Cell, out: Path) -> list[dict[str, Any]]:
    """Return the row of a finished cell, and for PruSC with controls that of the whole network's best head."""
    row = read_row(cell, out)
    metrics = _read_metrics(cell, out)
    if cell.method != "prusc" or cell.variant or "last_layer" not in metrics["results"]:
        return [row]
    seconds = sum(metrics["seconds"].get(stage, 0.0) for stage in ("erm", "clustering", "controls"))
    heads = {
        **row,
        "method": HEADS,
        "title": "Whole network's heads, PruSC's grid",
        "setting": metrics["chosen"].get("last_layer", ""),
        "density": 1.0,
        "verdict": "",
        "family": "last_layer",
        **_describe_test(metrics["results"]["last_layer"]["test"]),
        **_describe_choices(_read_candidates(cell, out, family="last_layer")),
        **_describe_cost(seconds, metrics),
    }
    return [row, heads]


def read_row(cell: Cell, out: Path) -> dict[str, Any]:
    """Return the row of a finished cell."""
    metrics = _read_metrics(cell, out)
    method = find_method(cell.method)
    return {
        "method": cell.name,
        "title": cell.title or method.title,
        "needs": "unbiased data" if cell.name == CEILING else method.group_labels,
        "trains_on_validation": method.fits_validation(cell.config),
        "data": cell.data,
        "network": cell.network,
        "seed": cell.config.seed,
        "rule": cell.config.selection.rule,
        "judged_by": metrics["judged_by"],
        "setting": metrics["chosen"][method.family],
        **_describe_test(metrics["results"][method.family]["test"]),
        **_describe_choices(_read_candidates(cell, out)),
        "density": metrics["density"],
        **_describe_cost(training_seconds(method, metrics["seconds"]), metrics),
        "verdict": metrics.get("verdict", ""),
        "version": metrics.get("prusc", ""),
        "family": method.family,
        "folder": cell.path.as_posix(),
    }


def _read_metrics(cell: Cell, out: Path) -> dict[str, Any]:
    metrics: dict[str, Any] = json.loads((out / cell.path / METRICS).read_text("utf-8"))
    return metrics


def _read_candidates(cell: Cell, out: Path, *, family: str | None = None) -> pd.DataFrame:
    """Read what the run tried, without the ERM network; empty if the run did not write it."""
    try:
        candidates = pd.read_csv(out / cell.path / "candidates.csv")
    except (FileNotFoundError, pd.errors.EmptyDataError):
        return pd.DataFrame()
    if "family" not in candidates:
        return candidates
    return candidates[candidates.family == family if family else candidates.family != "erm"]


def _describe_test(values: dict[str, Any]) -> dict[str, Any]:
    test = evaluation_from_dict(values)
    filled = [group for group in test.groups if group.accuracy is not None]
    counts = [(round(group.num_samples * (group.accuracy or 0.0)), group.num_samples) for group in filled]
    low, high = worst_group_interval(counts)
    return {
        "average_accuracy": test.average_accuracy,
        "worst_group_accuracy": test.worst_group_accuracy,
        "ci95_low": low,
        "ci95_high": high,
        "num_samples_worst_group": test.worst_group.num_samples,
        "num_groups": len(filled),
        "num_samples_smallest_group": min(group.num_samples for group in filled),
        "balanced_accuracy": test.balanced_accuracy,
        "aligned_accuracy": test.aligned_accuracy,
        "conflicting_accuracy": test.conflicting_accuracy,
    }


def _describe_choices(candidates: pd.DataFrame) -> dict[str, Any]:
    """Return what other choices among the same candidates would have had on test; ``None`` where that is not known."""
    by_rule = {
        "groups": _find_highest(candidates, "val_worst_group_accuracy", "val_balanced_accuracy"),
        "own": _find_highest(candidates, "own_score"),
    }
    found: dict[str, Any] = {"num_candidates": len(candidates) or None}
    for measure in MEASURES:
        column = f"test_{measure}_accuracy"
        # The oracle may choose another candidate for each measure.
        chosen = {**by_rule, "best": _find_highest(candidates, column)}
        for choice in CHOICES:
            place = chosen[choice]
            value = candidates[column].iloc[place] if place is not None and column in candidates else None
            found[f"{choice}_{measure}_accuracy"] = None if value is None or pd.isna(value) else float(value)
    return found


def _find_highest(candidates: pd.DataFrame, column: str, then: str | None = None) -> int | None:
    """Return the position of the candidate with the highest value; ``None`` without values.

    Of equal ones the highest in the column ``then`` is taken: with many groups, every candidate is wrong about all
    samples of some group. Of those that are still equal the first is taken.
    """
    if column not in candidates or not candidates[column].notna().any():
        return None
    columns = [column] if then is None or then not in candidates else [column, then]
    values = candidates[columns].astype(float).fillna(-math.inf).to_numpy().tolist()
    return max(range(len(values)), key=lambda place: values[place])


def _describe_cost(seconds: float, metrics: Mapping[str, Any]) -> dict[str, float]:
    return {"seconds": round(seconds, 3), "cost": round(seconds / metrics["seconds"]["erm"], 3)}


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
