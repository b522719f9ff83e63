"""The audit task: test a network for shortcuts through its clusters, without changing it."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.data import Data
from prusc.data.arrays import choose_ids
from prusc.data.rows import StoredRows
from prusc.engine.display import describe_with_table
from prusc.engine.progress import ProgressOption
from prusc.engine.runtime import stage_generator
from prusc.runs.artifacts import data_to_dict, evaluation_to_dict, told_versions
from prusc.runs.folder import FORMAT, RunFolder
from prusc.runs.plan import plan_stages
from prusc.runs.samples.exhibit import Exhibit
from prusc.runs.samples.write import write_samples
from prusc.runs.session import Session, open_session
from prusc.runs.start import Start, start_run
from prusc.stages.audit.clusters import (
    AUDIT_TEXTS,
    Agreement,
    Audit,
    audit_clusters,
    find_weak_classes,
    measure_agreement,
)
from prusc.stages.cells import make_cells
from prusc.stages.evaluation import GroupEvaluation, evaluate_groups
from prusc.stages.pseudo_attributes.attribute import Evidence, PseudoAttribute
from prusc.stages.pseudo_attributes.clustering import Clustering
from prusc.stages.pseudo_attributes.words import ValueWords, name_values_of, source_in_use

AUDIT_FILE, IMAGES_FILE = "audit.json", "look_at.csv"

# Number of images that the report shows, in all and per cluster.
_MAX_FIRST, _MAX_FIRST_PER_CLUSTER = 60, 12


@dataclass(frozen=True, eq=False, repr=False)
class AuditResult:
    """Result of an audit.

    Attributes:
        audit: The values of the pseudo-attribute in the validation split, and the verdict.
        evaluation: Accuracy of the network on the validation split: overall, by class, and by group if attributes are
            known.
        weak_classes: Classes whose accuracy is significantly below that of the others.
        evidence: Evidence for each source of the pseudo-attribute that was compared, the one in use first.
        clustering: The clustering of the training split.
        agreements: Agreement of the clusters with the class and with each known attribute.
        images: The validation samples to look at first, whose class is not the main class of their cluster. Columns:
            ``rank``, ``sample_id``, ``label``, ``prediction``, ``cluster``, ``main_class``, ``is_suspect`` and
            ``similarity`` (to the centre of the cluster: how typical the sample is).
        class_names: One name per class.
        num_samples: Number of validation samples.
        significance: Level of the tests.
    """

    audit: Audit
    evaluation: GroupEvaluation
    weak_classes: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    clustering: Clustering
    agreements: tuple[Agreement, ...]
    images: pd.DataFrame
    class_names: tuple[str, ...]
    num_samples: int
    significance: float

    @property
    def words(self) -> ValueWords:
        """What the values of the pseudo-attribute are called."""
        return name_values_of(source_in_use(self.evidence))

    def __repr__(self) -> str:
        return f"AuditResult({self.audit.verdict}: {self.count_suspects()}, {self.num_samples} validation samples)"

    def _repr_html_(self) -> str:
        return describe_with_table(self, self.to_frame())

    def count_suspects(self) -> str:
        """Return how many values are suspects, in words."""
        clusters = self.audit.clusters
        return f"{sum(cluster.is_suspect for cluster in clusters)} of {len(clusters)} {self.words.many} are suspects"

    def to_frame(self) -> pd.DataFrame:
        """Return one row per cluster, suspects first; see `ClusterAudit` for the columns."""
        rows = [
            asdict(cluster) | {"main_label": self.class_names[cluster.main_label]} for cluster in self.audit.clusters
        ]
        return pd.DataFrame(rows)


def audit(
    model: nn.Module | None = None,
    data: Any = None,
    config: RunConfig | None = None,
    *,
    out: Path | str | None = None,
    force: bool = False,
    progress: ProgressOption = None,
) -> AuditResult:
    """Test a network for shortcuts that it may have learned.

    An audit runs the first stages of `prusc.debias`, which continues from them in the same run folder. Clusters
    are made without group attributes. If the data have attributes, the result shows which ones the clusters follow.

    Args:
        model: A trained classifier, not changed. If ``None``, the network of the config is trained or loaded.
        data: The data it was trained on, in any form that `prusc.data.as_data` takes: `Data`, a map-style data set or a
            tuple of them, arrays, or a path. If ``None``, the data of the config are loaded.
        config: All settings; the defaults if ``None``.
        out: Run folder; nothing is written if ``None``.
        force: Delete a previous run in the folder.
        progress: ``True`` shows lines and bars; or an object that progress is reported to.

    Returns:
        The audit.

    Raises:
        PruscError: If settings, data, network or run folder are not valid.
    """
    session = open_session(model, data, config, out=out, force=force, progress=progress)
    session.stages.follow(plan_stages(session.config, session.data, is_trained=session.is_trained, is_audit=True))
    start = start_run(session)
    with session.stages.timed("audit"):
        result, predictions = _look(session, start)
        if session.stages.has_folder:
            write_samples(session.stages.folder, make_exhibit(result, predictions, start, session))
    session.log(f"audit: {result.audit.verdict}, {result.count_suspects()}")
    session.stages.write(result, partial(_write, session=session))
    session.runtime.barrier()
    return result


def _look(session: Session, start: Start) -> tuple[AuditResult, Tensor]:
    """Return the audit of the validation split, and the predictions of the ERM network there."""
    predicted, clustered = start.represent_erm(session), start.represent_clustered(session)
    result = summarise_audit(session, start.attribute, clustered.values, predicted.predictions)
    return result, predicted.predictions


def summarise_audit(
    session: Session, attribute: PseudoAttribute, representations: Tensor | StoredRows, predictions: Tensor
) -> AuditResult:
    """Return the audit of the validation split.

    Args:
        session: The open run.
        attribute: The clusters.
        representations: What was clustered, of the validation split.
        predictions: Predictions of the ERM network there.
    """
    data, val = session.data, session.data.val
    found = audit_clusters(
        representations,
        predictions,
        make_cells(attribute, data, "val"),
        attribute,
        session.config.audit,
        generator=stage_generator(session.config.seed, "audit"),
    )
    agreements = [measure_agreement("class", val.labels, found.cluster_ids)]
    if val.attributes is not None:
        agreements += [
            measure_agreement(name, values, found.cluster_ids)
            for name, values in zip(data.attribute_names, val.attributes.T, strict=True)
        ]
    weak = find_weak_classes(predictions == val.labels, val.labels, session.config.audit.significance)
    return AuditResult(
        audit=found,
        evaluation=evaluate_groups(predictions, val, data),
        weak_classes=tuple(data.class_names[label] for label in weak),
        evidence=attribute.evidence,
        clustering=attribute.clustering,
        agreements=tuple(agreements),
        images=_list_images(found, predictions, data),
        class_names=data.class_names,
        num_samples=len(val),
        significance=session.config.audit.significance,
    )


def make_exhibit(result: AuditResult, predictions: Tensor, start: Start, session: Session) -> Exhibit:
    """Return what the report of an audit can show."""
    first = first_images(result.images)["sample_id"].tolist()
    wanted = set(first)
    index = {name: position for position, name in enumerate(session.data.val.sample_ids) if name in wanted}
    return Exhibit(
        data=session.data,
        networks={"before": start.erm},
        predictions={"erm": {"val": predictions}},
        clusters=result.audit.clusters,
        look_at=[index[sample_id] for sample_id in first],
        head_name=start.head_name,
        feed=session.feed.of(session.data.val),
        seed=session.config.seed,
        seen={"before": start.represent_erm(session)},
    )


def first_images(images: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `AuditResult.images` for a report: the first ones of each suspect, or of each cluster."""
    suspects = images[images["is_suspect"]]
    return (suspects if len(suspects) else images).groupby("rank").head(_MAX_FIRST_PER_CLUSTER).head(_MAX_FIRST)


def _list_images(found: Audit, predictions: Tensor, data: Data) -> pd.DataFrame:
    """List samples whose class is not their cluster's main class: by cluster, wrong ones first, typical ones first."""
    parts = []
    for rank, cluster in enumerate(found.clusters, start=1):
        chosen = ((found.cluster_ids == cluster.cluster) & (data.val.labels != cluster.main_label)).nonzero()[:, 0]
        parts.append(
            pd.DataFrame(
                {
                    "rank": rank,
                    "sample_id": list(choose_ids(data.val.sample_ids, chosen)),
                    "label": [data.class_names[label] for label in data.val.labels[chosen].tolist()],
                    "prediction": [data.class_names[label] for label in predictions[chosen].tolist()],
                    "cluster": cluster.cluster,
                    "main_class": data.class_names[cluster.main_label],
                    "is_suspect": cluster.is_suspect,
                    "similarity": found.similarities[chosen].numpy().round(4),
                    "is_right": (predictions[chosen] == data.val.labels[chosen]).numpy(),
                }
            ).sort_values(["is_right", "similarity"], ascending=[True, False], kind="stable")
        )
    return pd.concat(parts, ignore_index=True).drop(columns="is_right")


def _write(folder: RunFolder, result: AuditResult, session: Session) -> None:
    folder.write_csv(IMAGES_FILE, result.images)
    folder.write_json(AUDIT_FILE, audit_to_dict(result, session))


def audit_to_dict(result: AuditResult, session: Session) -> dict[str, Any]:
    """Return the content of ``audit.json``."""
    found, data, config = result.audit, session.data, session.config
    return {
        "format": FORMAT,
        **told_versions(),
        **session.circumstances,
        "data": data_to_dict(data),
        "model": config.model,
        "seed": config.seed,
        "split": "val",
        "num_samples": result.num_samples,
        "evaluation": evaluation_to_dict(result.evaluation),
        "weak_classes": list(result.weak_classes),
        "source": source_in_use(result.evidence),
        "evidence": [asdict(one) for one in result.evidence],
        "smallest_loss": found.smallest_loss,
        "verdict": found.verdict,
        "verdict_text": AUDIT_TEXTS[found.verdict],
        "structure": found.structure,
        "silhouettes": [asdict(trial) for trial in result.clustering.trials],
        "group_labels_used_for": _list_group_uses(result),
        "agreements": [asdict(agreement) for agreement in result.agreements],
        "clusters": [
            {
                **asdict(cluster),
                "main_class": data.class_names[cluster.main_label],
                "class_counts": dict(zip(data.class_names, cluster.class_counts, strict=True)),
                "rank": cluster.rank,
            }
            for cluster in found.clusters
        ],
        "settings": asdict(config.audit),
        "seconds": session.stages.seconds,
    }


def _list_group_uses(result: AuditResult) -> list[str]:
    if not result.evaluation.attributes:
        return []
    has_suspect = any(cluster.is_suspect for cluster in result.audit.clusters)
    return ["agreements", "evaluation", *(["names"] if has_suspect else [])]
