"""Reading of the folder of a run, finished or not, or of an audit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd

from prusc.config import RunConfig, read_config
from prusc.errors import ConfigError, RunFolderError
from prusc.report.reading.metrics import read_audit, read_metrics, read_tested
from prusc.report.reading.optional import OptionalFiles, read_json
from prusc.report.reading.samples import read_samples
from prusc.report.record import RunRecord
from prusc.runs.audit import IMAGES_FILE
from prusc.runs.folder import CONFIG, METRICS


def read_run(path: Path) -> RunRecord:
    """Read a run folder.

    Args:
        path: Folder of a run (finished or not) or an audit, written by this or an older prusc.

    Returns:
        Its content, with a list of what is missing.

    Raises:
        RunFolderError: If it is no run folder, or ``metrics.json`` or ``audit.json`` is damaged or has a newer format.
        ConfigError: If the settings cannot be read.
    """
    if not path.is_dir():
        raise RunFolderError(f"run folder {path} {'is a file' if path.exists() else 'does not exist'}; name a folder")
    if not (path / CONFIG).is_file():
        raise RunFolderError(f"folder {path} has no {CONFIG}, so it is no run folder; name the --out of a prusc run")
    return _read_folder(OptionalFiles(path))


def _read_folder(files: OptionalFiles) -> RunRecord:
    metrics, evaluations, cells = read_metrics(files.path)
    audit = read_audit(files.path) if not metrics else {}
    if not metrics and not audit:
        files.missing.append(
            f"{METRICS} is missing: the run is not finished, so there are no results and no chosen network; repeat the "
            "same prusc run command to continue it"
        )
    if not metrics and audit and (files.path / "history.csv").is_file():
        files.missing.append(
            f"{METRICS} is missing: a run that continued this audit is not finished, so this is the report of the "
            "audit; repeat the same prusc run command to continue the run"
        )
    outcome = metrics or audit
    # Other methods have neither mask learning nor a record of samples.
    is_other = metrics.get("method", "prusc") != "prusc"
    seconds = outcome.get("seconds") or files.read("stages/seconds.json", read_json, "") or {}
    return RunRecord(
        path=files.path,
        metrics=metrics,
        audit=audit,
        evaluations=evaluations,
        cells=cells,
        tested=read_tested(outcome),
        look_at=files.read(IMAGES_FILE, _read_look_at, "the images to look at first") if audit else None,
        source=_read_source(files, outcome),
        config=read_run_config(files.path, outcome),
        candidates=files.read("candidates.csv", pd.read_csv, "the candidate networks" if metrics else ""),
        history=(None if audit or is_other else files.read("history.csv", pd.read_csv, "the course of mask learning")),
        clusters=files.read("clusters.csv", _read_clusters, "the sizes of the clusters"),
        samples=read_samples(files) if outcome and not is_other else None,
        log=files.read("log.txt", lambda path: path.read_text("utf-8", "replace"), "the log") or "",
        seconds=seconds,
        missing=tuple(files.missing),
    )


def read_run_config(path: Path, metrics: Mapping[str, Any]) -> RunConfig:
    """Read the settings of a run; an error names the prusc that wrote them.

    Raises:
        ConfigError: If they cannot be read.
    """
    try:
        return read_config(path / CONFIG)
    except ConfigError as error:
        wrote = metrics.get("prusc")
        raise ConfigError(f"{error}{f'; prusc {wrote} wrote it' if wrote else ''}") from error


def _read_source(files: OptionalFiles, outcome: Mapping[str, Any]) -> str | None:
    """Return the source of the pseudo-attribute, which an unfinished run has on disk only."""
    if "source" in outcome:
        return str(outcome["source"])
    if "evidence" in outcome:
        return str(outcome["evidence"][0]["source"]) if outcome["evidence"] else "given"
    stored = files.read("stages/clustering.json", read_json, "") if not outcome else None
    return None if stored is None else str(stored.get("source", "clusters"))


def _read_look_at(path: Path) -> pd.DataFrame:
    # As text, because a sample or a class may be named NA or 007.
    numbers = {"rank": "int64", "cluster": "int64", "similarity": "float64"}
    kinds = {name: numbers.get(name, "str") for name in pd.read_csv(path, nrows=0).columns}
    table = pd.read_csv(path, keep_default_na=False, dtype=kinds)
    table["is_suspect"] = table["is_suspect"] == "True"
    return table


def _read_clusters(path: Path) -> pd.DataFrame:
    kinds = {"label": "int64", "cluster_assign": "int64", "split": "category"}
    return pd.read_csv(path, usecols=list(kinds), dtype=kinds)
