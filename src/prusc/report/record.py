"""What a report sees of the folder of a run, whole or half, or of an audit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prusc.config import RunConfig
from prusc.report.sample_record import SampleRecord
from prusc.stages.audit.clusters import ClusterAudit
from prusc.stages.evaluation import GroupEvaluation
from prusc.stages.selection.judges import CellAccuracy


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
