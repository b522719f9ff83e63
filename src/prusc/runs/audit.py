"""Is there a shortcut at all: look at a network through its clusters, and change nothing."""

from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from prusc.config import RunConfig
from prusc.data import Data
from prusc.engine.progress import Progress
from prusc.engine.runtime import stage_generator
from prusc.runs.artifacts import data_to_dict, told_versions
from prusc.runs.folder import FORMAT
from prusc.runs.samples.exhibit import Exhibit
from prusc.runs.samples.write import write_samples
from prusc.runs.session import OpenRun, Original, find_original, open_run
from prusc.stages.audit.clusters import AUDIT_TEXTS, Agreement, Audit, audit_clusters, measure_agreement
from prusc.stages.pseudo_attributes.clustering import Clustering
from prusc.stages.representations import extract_representations

AUDIT_FILE, IMAGES_FILE = "audit.json", "look_at.csv"

# The report shows so many images of the list, and of each cluster.
_MAX_FIRST, _MAX_FIRST_PER_CLUSTER = 60, 12


@dataclass(frozen=True, eq=False)
class AuditResult:
    """What an audit found.

    Attributes:
        audit: The clusters on the validation split, and the verdict.
        clustering: Of the training split.
        agreements: How far the clusters follow the class and, where attributes are known, each of them.
        images: The validation samples to look at first, those whose class is not that of their cluster: columns
            ``rank``, ``sample_id``, ``label``, ``prediction``, ``cluster``, ``main_class``, ``is_suspect`` and
            ``similarity``, how typical the sample is of its cluster.
        class_names: One name per class.
        num_samples: Validation samples.
    """

    audit: Audit
    clustering: Clustering
    agreements: tuple[Agreement, ...]
    images: pd.DataFrame
    class_names: tuple[str, ...]
    num_samples: int


def audit(
    model: nn.Module | None = None,
    data: Data | None = None,
    config: RunConfig | None = None,
    *,
    out: Path | str | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> AuditResult:
    """Say which shortcuts a network seems to have learned.

    These are the first stages of :func:`prusc.debias`, which goes on with them in the same run folder. Clusters are
    made without group attributes; where the data have any, the result says which of them the clusters follow.

    Args:
        model: A trained classifier, not changed; if ``None``, the one that the config names is trained or loaded.
        data: The data it was trained on; if ``None``, those that the config names are loaded.
        config: Every setting; the defaults if ``None``.
        out: Run folder; without one nothing is written.
        force: Throw away what the run folder holds.
        progress: Whom to tell.

    Returns:
        The audit.

    Raises:
        PruscError: If settings, data, network or run folder are not as they have to be.
    """
    run = open_run(model, data, config, out=out, force=force, progress=progress)
    original = find_original(run)
    with run.stages.stage("audit"):
        extract = partial(
            extract_representations,
            head_name=original.head_name,
            split=run.data.val,
            transform=run.transform,
            runtime=run.runtime,
        )
        predicted = extract(original.model)
        clustered = predicted if original.clustered is original.model else extract(original.clustered)
        found = audit_clusters(
            clustered.values,
            predicted.predictions,
            run.data.val.labels,
            original.clustering,
            run.config.audit,
            num_classes=run.data.num_classes,
            generator=stage_generator(run.config.seed, "audit"),
        )
        val, names = run.data.val, run.data.attribute_names
        agreements = [measure_agreement("class", val.labels, found.cluster_ids)]
        if val.attributes is not None:
            agreements += [
                measure_agreement(name, values, found.cluster_ids)
                for name, values in zip(names, val.attributes.T, strict=True)
            ]
        result = AuditResult(
            audit=found,
            clustering=original.clustering,
            agreements=tuple(agreements),
            images=_list_images(found, predicted.predictions, run.data),
            class_names=run.data.class_names,
            num_samples=len(val),
        )
        if run.runtime.broadcast(run.folder is not None):
            write_samples(run.folder, _make_exhibit(result, predicted.predictions, original, run))
    num_suspects = sum(cluster.is_suspect for cluster in found.clusters)
    run.say(f"audit: {found.verdict}, {num_suspects} of {len(found.clusters)} clusters are suspects")
    if run.folder is not None:
        run.folder.write_csv(IMAGES_FILE, result.images)
        run.folder.write_json(AUDIT_FILE, _to_dict(result, run))
    run.runtime.barrier()
    return result


def _make_exhibit(result: AuditResult, predictions: torch.Tensor, original: Original, run: OpenRun) -> Exhibit:
    index = {sample_id: position for position, sample_id in enumerate(run.data.val.sample_ids)}
    return Exhibit(
        data=run.data,
        networks={"before": original.model},
        predictions={"erm": {"val": predictions}},
        clusters=result.audit.clusters,
        look_at=[index[sample_id] for sample_id in first_images(result.images)["sample_id"]],
        head_name=original.head_name,
        transform=run.transform,
        seed=run.config.seed,
        runtime=run.runtime,
    )


def first_images(images: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of `AuditResult.images` that a report shows: the first of each suspect or, without, cluster."""
    suspects = images[images["is_suspect"]]
    return (suspects if len(suspects) else images).groupby("rank").head(_MAX_FIRST_PER_CLUSTER).head(_MAX_FIRST)


def _list_images(found: Audit, predictions: torch.Tensor, data: Data) -> pd.DataFrame:
    """List the samples whose class is not their cluster's: by cluster in its order, wrong ones first, typical first."""
    parts = []
    for rank, cluster in enumerate(found.clusters, start=1):
        chosen = ((found.cluster_ids == cluster.cluster) & (data.val.labels != cluster.main_label)).nonzero()[:, 0]
        parts.append(
            pd.DataFrame(
                {
                    "rank": rank,
                    "sample_id": [data.val.sample_ids[index] for index in chosen.tolist()],
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


def _to_dict(result: AuditResult, run: OpenRun) -> dict[str, Any]:
    found, data, config = result.audit, run.data, run.config
    return {
        "format": FORMAT,
        **told_versions(),
        **run.stages.circumstances,
        "given_in_python": run.given,
        "data": data_to_dict(data),
        "model": config.model,
        "seed": config.seed,
        "split": "val",
        "num_samples": result.num_samples,
        "verdict": found.verdict,
        "verdict_text": AUDIT_TEXTS[found.verdict],
        "structure": found.structure,
        "silhouettes": [asdict(trial) for trial in result.clustering.trials],
        "group_labels_used_for": ["agreements"] if len(result.agreements) > 1 else [],
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
        "seconds": run.stages.seconds,
    }
