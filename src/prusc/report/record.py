"""The content of a run folder as a report uses it: of a finished or unfinished run, or of an audit."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from prusc.config import RunConfig
from prusc.report.sample_record import SampleRecord
from prusc.runs.group_labels import describe_group_uses
from prusc.stages.audit.clusters import ClusterAudit
from prusc.stages.evaluation import GroupEvaluation
from prusc.stages.pseudo_attributes.words import ValueWords, name_values_of
from prusc.stages.selection.scores import CellAccuracy


@dataclass(frozen=True, eq=False)
class RunRecord:
    """The content of a run folder; missing parts are ``None``.

    Attributes:
        path: The folder.
        metrics: Content of ``metrics.json``; empty if the run is not finished.
        audit: Content of ``audit.json``; empty without an audit, or if the run is finished.
        evaluations: Results by network and split; empty if the run is not finished.
        cells: Accuracy of both networks on the cells of the validation split that judged.
        tested: Result of the test of each cluster, suspects first; ``None`` if the clusters were not tested.
        look_at: Images to look at first, from an audit.
        source: Source of the pseudo-attribute; ``None`` if an older prusc made the folder, or it is not inferred yet.
        config: All settings.
        candidates: One row per candidate network.
        history: One row per logged step of mask learning.
        clusters: Cluster of each training and validation sample.
        samples: Record of single samples.
        log: Content of ``log.txt``.
        seconds: Wall time by stage.
        missing: One line per file that could not be read, with what the report therefore lacks.
    """

    path: Path
    metrics: Mapping[str, Any]
    audit: Mapping[str, Any]
    evaluations: Mapping[str, Mapping[str, GroupEvaluation]]
    cells: tuple[CellAccuracy, ...]
    tested: tuple[ClusterAudit, ...] | None
    look_at: pd.DataFrame | None
    source: str | None
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
        """Whether the run is finished."""
        return bool(self.metrics)

    @property
    def remedy(self) -> str:
        """Title of the method; empty if it is PruSC."""
        return "" if self.metrics.get("method", "prusc") == "prusc" else str(self.metrics["method_title"])

    @property
    def is_audit(self) -> bool:
        """Whether the folder has an audit but no finished run."""
        return bool(self.audit) and not self.metrics

    @property
    def outcome(self) -> Mapping[str, Any]:
        """Content of ``metrics.json``, or of ``audit.json`` without a finished run."""
        return self.metrics or self.audit

    @property
    def words(self) -> ValueWords:
        """What the values of the pseudo-attribute are called."""
        return name_values_of(self.source)

    @property
    def group_uses(self) -> str:
        """What read group labels, in a sentence."""
        has_attributes = bool(self.outcome["data"].get("attributes"))
        uses = list(self.outcome.get("group_labels_used_for", ["evaluation"])) if has_attributes else []
        # An older prusc did not count the names, although they compare known attributes too.
        if uses and "names" not in uses and self.samples is not None and self.samples.names is not None:
            uses += ["names"] if self.samples.names.suspects else []
        return describe_group_uses(uses)

    @property
    def class_names(self) -> list[str]:
        """Name of each label; ``class 0`` and so on if the run is not finished."""
        if self.outcome:
            return [str(name) for name in self.outcome["data"]["classes"]]
        if self.clusters is None:
            return []
        return [f"class {label}" for label in range(int(self.clusters["label"].max()) + 1)]

    @property
    def data_name(self) -> str:
        """Name of the data."""
        return str(self.outcome["data"]["name"] if self.outcome else self.config.data)
