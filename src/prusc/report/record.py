"""Reading the folder of a run, whole or half, or of an audit, for a report: what is there, and what is missing."""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from safetensors import SafetensorError
from safetensors.numpy import load_file

from prusc.config import RunConfig
from prusc.errors import ConfigError, RunFolderError
from prusc.report.sample_record import Pictures, SampleRecord
from prusc.runs.artifacts import evaluation_from_dict
from prusc.runs.audit import AUDIT_FILE, IMAGES_FILE
from prusc.runs.folder import CONFIG, FORMAT, METRICS, read_config
from prusc.runs.samples.attention import MeanShare, RegionAttention
from prusc.runs.samples.contact_sheets import SUFFIX, TileSize
from prusc.runs.samples.files import ABOUT, ATTENTION, FOLDER, MAP, TABLE
from prusc.runs.samples.shown import MAX_PICTURES_PER_CELL_SIDE
from prusc.stages.audit.clusters import ClusterAudit
from prusc.stages.evaluation import GroupEvaluation
from prusc.stages.selection.judges import CellAccuracy

ContentT = TypeVar("ContentT")


@dataclass(frozen=True, eq=False)
class RunRecord:
    """A run folder as a report sees it; ``None`` is what is not there.

    Attributes:
        path: The folder.
        metrics: ``metrics.json``; empty if the run is not finished.
        audit: ``audit.json``; empty without an audit, and not read of a finished run.
        evaluations: Figures by network and split; empty if the run is not finished.
        cells: Accuracy before and after of the cells of the validation split that judged.
        tested: Which clusters are suspects, those first; ``None`` if they were not tested.
        look_at: The samples that an audit would look at first.
        config: Every setting.
        candidates: One row per network that was tried.
        history: How the mask came about.
        clusters: Cluster of each training and validation sample.
        samples: What was kept of single samples.
        log: What the run told.
        seconds: Wall time by stage.
        missing: A line for each thing that could not be read, with what the report does without.
    """

    path: Path
    metrics: Mapping[str, Any]
    audit: Mapping[str, Any]
    evaluations: Mapping[str, Mapping[str, GroupEvaluation]]
    cells: tuple[CellAccuracy, ...]
    tested: tuple[ClusterAudit, ...] | None
    look_at: pd.DataFrame | None
    config: RunConfig
    candidates: pd.DataFrame | None
    history: pd.DataFrame | None
    clusters: pd.DataFrame | None
    samples: SampleRecord | None
    log: str
    seconds: Mapping[str, float]
    missing: tuple[str, ...]

    @property
    def is_finished(self) -> bool:
        """Whether the run has come to its end."""
        return bool(self.metrics)

    @property
    def remedy(self) -> str:
        """What another remedy than PruSC is called; empty if it is PruSC."""
        return "" if self.metrics.get("method", "prusc") == "prusc" else str(self.metrics["method_title"])

    @property
    def is_audit(self) -> bool:
        """Whether there is an audit and no finished run that went on with it."""
        return bool(self.audit) and not self.metrics

    @property
    def told(self) -> Mapping[str, Any]:
        """What the folder tells of how it was made: ``metrics.json`` or ``audit.json``."""
        return self.metrics or self.audit

    @property
    def class_names(self) -> list[str]:
        """Name of each label; numbers where the run has not come to its end."""
        if self.told:
            return [str(name) for name in self.told["data"]["classes"]]
        if self.clusters is None:
            return []
        return [f"class {label}" for label in range(int(self.clusters["label"].max()) + 1)]

    @property
    def data_name(self) -> str:
        """What the data are called."""
        return str(self.told["data"]["name"] if self.told else self.config.data)


def read_run(path: Path) -> RunRecord:
    """Read a run folder.

    Args:
        path: The folder of a run, finished or not, or of an audit, of this or an older prusc.

    Returns:
        What is there.

    Raises:
        RunFolderError: If it is no run folder, or ``metrics.json`` or ``audit.json`` is damaged or of a newer prusc.
        ConfigError: If the settings cannot be read.
    """
    if not path.is_dir():
        raise RunFolderError(f"run folder {path} {'is a file' if path.exists() else 'does not exist'}; name a folder")
    if not (path / CONFIG).is_file():
        raise RunFolderError(f"folder {path} has no {CONFIG}, so it is no run folder; name the --out of a prusc run")
    return _Reader(path).read()


@dataclass
class _Reader:
    """Reads one folder and notes what is missing."""

    path: Path
    missing: list[str] = field(default_factory=list)

    def read(self) -> RunRecord:
        metrics, evaluations, cells = self.read_metrics()
        audit = self.read_told(AUDIT_FILE, _check_audit) if not metrics else {}
        if not metrics and not audit:
            self.missing.append(
                f"{METRICS} is missing: the run has not come to its end (the same prusc run command goes on with it); "
                "there are no figures, and no network was chosen"
            )
        if not metrics and audit and (self.path / "history.csv").is_file():
            self.missing.append(
                f"{METRICS} is missing: a run went on from this audit and has not come to its end (the same prusc run "
                "command goes on with it); this is the report of the audit"
            )
        told = metrics or audit
        # Other remedies have neither, and miss nothing.
        is_other = metrics.get("method", "prusc") != "prusc"
        seconds = told.get("seconds") or self.optional("stages/seconds.json", _read_json, "") or {}
        return RunRecord(
            path=self.path,
            metrics=metrics,
            audit=audit,
            evaluations=evaluations,
            cells=cells,
            tested=_read_tested(told),
            look_at=self.optional(IMAGES_FILE, _read_look_at, "the images to look at first") if audit else None,
            config=self.read_config(told),
            candidates=self.optional("candidates.csv", pd.read_csv, "the networks that were tried" if metrics else ""),
            history=(
                None if audit or is_other else self.optional("history.csv", pd.read_csv, "how the mask came about")
            ),
            clusters=self.optional("clusters.csv", _read_clusters, "the clusters' sizes"),
            samples=self.read_samples() if told and not is_other else None,
            log=self.optional("log.txt", lambda path: path.read_text("utf-8", "replace"), "what the run told") or "",
            seconds=seconds,
            missing=tuple(self.missing),
        )

    def read_config(self, metrics: Mapping[str, Any]) -> RunConfig:
        try:
            return read_config(self.path / CONFIG)
        except ConfigError as error:
            wrote = metrics.get("prusc")
            raise ConfigError(f"{error}{f'; prusc {wrote} wrote it' if wrote else ''}") from error

    def read_metrics(
        self,
    ) -> tuple[dict[str, Any], dict[str, dict[str, GroupEvaluation]], tuple[CellAccuracy, ...]]:
        metrics = self.read_told(METRICS, _check_metrics)
        if not metrics:
            return {}, {}, ()
        return metrics, *_check_metrics(metrics)

    def read_told(self, name: str, check: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        """Read the file that says how a run or an audit came out; without it that is not finished."""
        path = self.path / name
        if not path.is_file():
            return {}
        try:
            told: dict[str, Any] = _read_json(path)
            found = told["format"]
        except (ValueError, KeyError, TypeError) as error:
            raise RunFolderError(
                f"{path} is damaged ({_reason(error)}); copy it again, or run anew with --force"
            ) from error
        if not isinstance(found, int) or found > FORMAT:
            raise RunFolderError(
                f"{path} has format {found!r}, this prusc reads up to format {FORMAT}; use the prusc that wrote it "
                f"({told.get('prusc', 'unknown version')}) or a newer one"
            )
        try:
            told = _name_after(told)
            check(told)
            _read_tested(told)
        except (AssertionError, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            raise RunFolderError(
                f"{path} is not as prusc writes it ({_reason(error)}); copy it again, or run anew with --force"
            ) from error
        return told

    def read_samples(self) -> SampleRecord | None:
        table = self.optional(TABLE, _read_table, "pictures, map and Grad-CAM (runs of an older prusc have none)")
        about = None if table is None else self.optional(ABOUT, _read_json, "pictures, map and Grad-CAM")
        if table is None or about is None:
            return None
        maps = self.optional(MAP, load_file, "the map of the representations") or {}
        why_no_attention = about["attention"].get("why_not") or ""
        attention = {} if why_no_attention else self.optional(ATTENTION, load_file, "Grad-CAM") or {}
        if not attention and not why_no_attention:
            why_no_attention = f"{ATTENTION} is missing"
        num_on_map = int(table["map"].max()) + 1
        names = ("before", "after") if "prediction/subnetwork" in table else ("before",)
        if any(len(maps.get(name, ())) != num_on_map for name in names):
            maps = {}
        return SampleRecord(
            table=table,
            map_before=maps.get("before"),
            map_after=maps.get("after"),
            explained_variance={name: (pair[0], pair[1]) for name, pair in about["explained_variance"].items()},
            attention=attention,
            why_no_attention=why_no_attention,
            regions=tuple(_read_region(region) for region in about["attention"].get("regions", ())),
            num_unreadable=about["attention"].get("num_unreadable", 0),
            per_side=about.get("per_side", MAX_PICTURES_PER_CELL_SIDE),
            thumbnails=self.read_pictures("thumbnails", about["thumbnails"]),
            pictures=self.read_pictures("pictures", about["pictures"]),
        )

    def read_pictures(self, name: str, about: Mapping[str, Any]) -> Pictures:
        if not about["num_files"]:
            return Pictures((), TileSize(1, 1), about["why_not"])
        sheets = tuple(
            self.optional(f"{FOLDER}/{name}-{number:03d}{SUFFIX}", _read_sheet, f"some {name}")
            for number in range(about["num_files"])
        )
        return Pictures(sheets, TileSize(about["width"], about["height"]))

    def optional(self, name: str, read: Callable[[Path], ContentT], what_for: str) -> ContentT | None:
        """Read a file that a report can do without; note it if it is missing and ``what_for`` says what is lost."""
        path = self.path / name
        try:
            return read(path)
        except FileNotFoundError:
            why = "is missing"
        except (OSError, ValueError, KeyError, TypeError, SafetensorError, SyntaxError) as error:
            why = f"cannot be read ({_reason(error)})"
        if what_for:
            self.missing.append(f"{name} {why}: the report does without {what_for}")
        return None


def _reason(error: BaseException) -> str:
    text = str(error).splitlines()[0] if str(error) else ""
    return f"{type(error).__name__}: {text[:200]}"


def _read_json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8"))


def _check_metrics(
    metrics: dict[str, Any],
) -> tuple[dict[str, dict[str, GroupEvaluation]], tuple[CellAccuracy, ...]]:
    """Return the figures; raises where something is not there that the report cannot do without."""
    evaluations = {
        network: {split: evaluation_from_dict(values) for split, values in splits.items()}
        for network, splits in metrics["results"].items()
    }
    cells = tuple(CellAccuracy(**cell) for cell in metrics["cells"])
    for network in ("erm", "subnetwork"):
        evaluations[network]["test"].worst_group.num_samples  # noqa: B018 -- raises where it is not there
    for name in ("data", "model", "seed", "verdict", "verdict_text", "chosen", "density", "density_per_layer"):
        metrics[name]
    metrics["data"]["classes"]
    return evaluations, cells


def _name_after(told: dict[str, Any]) -> dict[str, Any]:
    """Call the network that a run hands back ``subnetwork``, whichever remedy made it: reports have one word for it."""
    family = told.get("handed_back", "subnetwork")
    if family == "subnetwork":
        return told
    plain = {"cells": [], "density_per_layer": {}, "verdict": "applied"}
    plain["verdict_text"] = f"the result is the network after {told['method_title']} ({told['paper']})"
    results, chosen = told["results"], told["chosen"]
    return {
        **plain,
        **told,
        "results": {"erm": results["erm"], "subnetwork": results[family]},
        "chosen": {"erm": chosen["erm"], "subnetwork": chosen[family]},
    }


def _check_audit(audit: dict[str, Any]) -> None:
    for name in ("data", "model", "seed", "verdict", "verdict_text", "structure", "clusters", "agreements"):
        audit[name]
    audit["data"]["classes"]


def _read_tested(told: Mapping[str, Any]) -> tuple[ClusterAudit, ...] | None:
    """Return the clusters as they were tested; ``None`` from an older prusc, or if there is nothing yet."""
    if "clusters" not in told:
        return None
    names = {item.name for item in fields(ClusterAudit)}
    found = []
    for cluster in told["clusters"]:
        # An audit tells the counts by the names of the classes as well.
        values = {name: value for name, value in cluster.items() if name in names}
        counts = values["class_counts"]
        values["class_counts"] = tuple(counts.values() if isinstance(counts, dict) else counts)
        intervals = ("ci95", "others_ci95", "loss_ci95")
        values |= {name: None if values[name] is None else tuple(values[name]) for name in intervals}
        found.append(ClusterAudit(**values))
    return tuple(found)


def _read_region(values: Mapping[str, Any]) -> RegionAttention:
    def share(found: Mapping[str, Any] | None) -> MeanShare | None:
        if found is None:
            return None
        limits = found["ci95"]
        return MeanShare(found["mean"], None if limits is None else (limits[0], limits[1]))

    before = share(values["before"])
    assert before is not None
    return RegionAttention(
        region=values["region"],
        num_samples=values["num_samples"],
        area=values["area"],
        before=before,
        after=share(values["after"]),
        change=share(values["change"]),
    )


def _read_look_at(path: Path) -> pd.DataFrame:
    # As text, since a sample or a class may be called NA or 007.
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    table["is_suspect"] = table["is_suspect"] == "True"
    return table.astype({"rank": "int64", "cluster": "int64", "similarity": "float64"})


def _read_clusters(path: Path) -> pd.DataFrame:
    table = pd.read_csv(path, usecols=["label", "cluster_assign", "split"])
    return table.astype({"label": "int64", "cluster_assign": "int64"})


def _read_table(path: Path) -> pd.DataFrame:
    # As text, since a sample may be called NA or 007.
    table = pd.read_csv(path, keep_default_na=False, dtype=str)
    numbers = [name for name in table if name in ("index", "label", "cluster", "map", "picture", "attention")] + [
        name for name in table if str(name).startswith("prediction/")
    ]
    if "similarity" not in table:  # of an older prusc, which gave positions in the order of similarity
        table["similarity"] = -table["picture"].astype("int64")
    return table.astype({**dict.fromkeys(numbers, "int64"), "similarity": "float64"})


def _read_sheet(path: Path) -> tuple[bytes, NDArray[np.uint8]]:
    content = path.read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        return content, np.asarray(image.convert("RGB"))
