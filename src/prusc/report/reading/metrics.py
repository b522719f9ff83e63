"""Reading of ``metrics.json`` and ``audit.json``, the results of a run and of an audit."""

from collections.abc import Callable, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from prusc.errors import RunFolderError
from prusc.report.reading.optional import describe_error, read_json
from prusc.runs.artifacts import evaluation_from_dict
from prusc.runs.audit import AUDIT_FILE
from prusc.runs.folder import FORMAT, METRICS
from prusc.stages.audit.clusters import ClusterAudit
from prusc.stages.evaluation import GroupEvaluation
from prusc.stages.selection.scores import CellAccuracy


def read_metrics(
    path: Path,
) -> tuple[dict[str, Any], dict[str, dict[str, GroupEvaluation]], tuple[CellAccuracy, ...]]:
    """Read ``metrics.json``.

    Args:
        path: The run folder.

    Returns:
        Its content, the results by network and split, and the cells; all empty if the run is not finished.

    Raises:
        RunFolderError: If it is damaged, or a newer prusc wrote it.
    """
    metrics = read_outcome(path / METRICS, _check_metrics)
    if not metrics:
        return {}, {}, ()
    return metrics, *_check_metrics(metrics)


def read_audit(path: Path) -> dict[str, Any]:
    """Read ``audit.json``; empty without an audit.

    Raises:
        RunFolderError: If it is damaged, or a newer prusc wrote it.
    """
    return read_outcome(path / AUDIT_FILE, _check_audit)


def read_outcome(path: Path, check: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    """Read and check a file of results; empty if it is missing, which means that the run is not finished."""
    if not path.is_file():
        return {}
    try:
        outcome: dict[str, Any] = read_json(path)
        found = outcome["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{path} is damaged ({describe_error(error)}); copy the folder again, or repeat the run with --force"
        ) from error
    if not isinstance(found, int) or found > FORMAT:
        raise RunFolderError(
            f"{path} has format {found!r}, this prusc reads up to format {FORMAT}; use the prusc that wrote it "
            f"({outcome.get('prusc', 'unknown version')}) or a newer one"
        )
    try:
        outcome = _name_after(outcome)
        check(outcome)
        read_tested(outcome)
    except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise RunFolderError(
            f"{path} is not as prusc writes it ({describe_error(error)}); copy the folder again, or repeat the run "
            "with --force"
        ) from error
    return outcome


def _check_metrics(
    metrics: dict[str, Any],
) -> tuple[dict[str, dict[str, GroupEvaluation]], tuple[CellAccuracy, ...]]:
    """Return the results by network and split, and the cells; raise if a required part is missing."""
    evaluations = {
        network: {split: evaluation_from_dict(values) for split, values in splits.items()}
        for network, splits in metrics["results"].items()
    }
    cells = tuple(CellAccuracy(**cell) for cell in metrics["cells"])
    for network in ("erm", "subnetwork"):
        evaluations[network]["test"].worst_group.num_samples  # noqa: B018 -- raises if it is missing
    for name in ("data", "model", "seed", "verdict", "verdict_text", "chosen", "density", "density_per_layer"):
        metrics[name]
    metrics["data"]["classes"]
    return evaluations, cells


def _check_audit(audit: dict[str, Any]) -> None:
    for name in ("data", "model", "seed", "verdict", "verdict_text", "structure", "clusters", "agreements"):
        audit[name]
    audit["data"]["classes"]


def _name_after(outcome: dict[str, Any]) -> dict[str, Any]:
    """Rename the chosen network of any method to ``subnetwork``, the one name that reports use."""
    family = outcome.get("handed_back", "subnetwork")
    if family == "subnetwork":
        return outcome
    plain = {"cells": [], "density_per_layer": {}, "verdict": "applied"}
    plain["verdict_text"] = f"the result is the network after {outcome['method_title']} ({outcome['paper']})"
    results, chosen = outcome["results"], outcome["chosen"]
    return {
        **plain,
        **outcome,
        "results": {"erm": results["erm"], "subnetwork": results[family]},
        "chosen": {"erm": chosen["erm"], "subnetwork": chosen[family]},
    }


def read_tested(outcome: Mapping[str, Any]) -> tuple[ClusterAudit, ...] | None:
    """Return the result of the test of each cluster; ``None`` without results, or if an older prusc wrote them."""
    if "clusters" not in outcome:
        return None
    names = {item.name for item in fields(ClusterAudit)}
    found = []
    for cluster in outcome["clusters"]:
        # In audit.json, the counts are a mapping by class name.
        values = {name: value for name, value in cluster.items() if name in names}
        counts = values["class_counts"]
        values["class_counts"] = tuple(counts.values() if isinstance(counts, dict) else counts)
        intervals = ("ci95", "others_ci95", "loss_ci95")
        values |= {name: None if values[name] is None else tuple(values[name]) for name in intervals}
        found.append(ClusterAudit(**values))
    return tuple(found)
