"""The files of a run folder, each from the objects of the stages and back."""

import dataclasses
import platform
from collections.abc import Mapping
from importlib.metadata import version
from itertools import product
from typing import Any

import pandas as pd
from torch import Tensor

from prusc.config import RunConfig
from prusc.data.table import Data
from prusc.errors import RunFolderError
from prusc.masks import BinaryMask
from prusc.runs.folder import FORMAT, METRICS, SKIPPED, RunFolder
from prusc.runs.result import VERDICT_TEXTS, DebiasingResult
from prusc.stages.candidates import Candidate
from prusc.stages.debiasing_set import DebiasingSet
from prusc.stages.evaluation import AttributeWorstGroup, GroupAccuracy, GroupEvaluation
from prusc.stages.mask_learning import LearnedMasks, MaskHistoryEntry
from prusc.stages.pseudo_attributes.clustering import ClusterCountTrial, Clustering
from prusc.stages.selection.judges import describe_selection

# The first file that a stage leaves.
ERM_WEIGHTS = "erm.safetensors"

# Those of the packages that figures may depend on.
_TOLD_VERSIONS = ("torch", "torchvision", "timm", "scikit-learn", "numpy")


def write_clustering(
    folder: RunFolder,
    clustering: Clustering,
    val_cluster_ids: Tensor,
    val_margins: Tensor,
    val_final_ids: Tensor | None,
    data: Data,
    *,
    train: Tensor,
    val: Tensor,
) -> None:
    """Write ``clusters.csv`` (the public code's columns, and more) and what a resumed run needs.

    Args:
        folder: Where to.
        clustering: Of the training split.
        val_cluster_ids: Cluster of each validation sample.
        val_margins: See `Clustering.measure_margins`.
        val_final_ids: Cluster of each validation sample among those of the final network, where these were made.
        data: Labels and names.
        train: Representations of the training split that were clustered, shape [N, D].
        val: Those of the validation split.
    """
    tables = [
        pd.DataFrame(
            {
                "index": range(len(split)),
                "label": split.labels.numpy(),
                "cluster_assign": cluster_ids.numpy(),
                "split": name,
                "sample_id": split.sample_ids,
                "similarity": clustering.similarities(representations, cluster_ids).numpy().round(4),
                "margin": margins.numpy().round(4),
                **({} if final_ids is None else {"final_cluster": final_ids.numpy()}),
            }
        )
        for name, split, cluster_ids, margins, final_ids, representations in (
            ("train", data.train, clustering.cluster_ids, clustering.margins, clustering.final_ids, train),
            ("val", data.val, val_cluster_ids, val_margins, val_final_ids, val),
        )
    ]
    folder.write_csv("clusters.csv", pd.concat(tables))
    tensors = {
        "train": clustering.cluster_ids,
        "train_margins": clustering.margins,
        "val": val_cluster_ids,
        "val_margins": val_margins,
        "centres": clustering.centres,
    }
    if clustering.final_ids is not None and val_final_ids is not None:
        tensors |= {"train_final_ids": clustering.final_ids, "val_final_ids": val_final_ids}
    trials = [dataclasses.asdict(trial) for trial in clustering.trials]
    folder.write_json("stages/clustering.json", {"trials": trials, "structure": clustering.structure})
    folder.write_tensors("stages/clustering.safetensors", tensors)


def read_clustering(folder: RunFolder) -> tuple[Clustering, Tensor, Tensor, Tensor | None] | None:
    """Read what `write_clustering` wrote, if it came to its end.

    Returns:
        The clustering; of validation the clusters, the margins and, where they were made, the final network's clusters.
    """
    if not folder.has("stages/clustering.safetensors"):
        return None
    tensors = folder.read_tensors("stages/clustering.safetensors")
    if "train_margins" not in tensors:  # of an older prusc; the same clusters are found again
        return None
    stored = folder.read_json("stages/clustering.json")
    trials = tuple(ClusterCountTrial(**trial) for trial in stored["trials"])
    clustering = Clustering(
        tensors["train"],
        tensors["centres"],
        trials,
        stored["structure"],
        tensors["train_margins"],
        tensors.get("train_final_ids"),
    )
    return clustering, tensors["val"], tensors["val_margins"], tensors.get("val_final_ids")


def write_debiasing_set(folder: RunFolder, debiasing_set: DebiasingSet, data: Data) -> None:
    """Write ``debiasing_set.csv``: each cell's size, how many of it are drawn, and its share of the draws.

    Where clusters of the final network cut the cells, each piece has a row.
    """
    final_ids = debiasing_set.final_ids
    pieces = [None] if final_ids is None else range(int(final_ids.max()) + 1)
    rows = []
    for label, cluster, piece in product(range(data.num_classes), range(debiasing_set.num_clusters), pieces):
        inside = (debiasing_set.labels == label) & (debiasing_set.cluster_ids == cluster)
        row = {"label": label, "class": data.class_names[label], "cluster": cluster}
        if piece is not None:
            inside &= final_ids == piece
            row["final_cluster"] = piece
        drawn = debiasing_set.weights[inside]
        row |= {"num_samples": len(drawn), "num_drawn": int((drawn > 0).sum()), "share": float(drawn.sum())}
        rows.append(row)
    folder.write_csv("debiasing_set.csv", pd.DataFrame(rows))


def write_masks(folder: RunFolder, learned: LearnedMasks) -> None:
    """Write ``history.csv`` and what a resumed run needs."""
    rows = []
    for entry in learned.history:
        row = dataclasses.asdict(entry)
        layers = row.pop("density_per_layer")
        rows.append({**row, **{f"density/{name}": density for name, density in layers.items()}})
    folder.write_csv("history.csv", pd.DataFrame(rows))
    folder.write_json("stages/masks.json", [dataclasses.asdict(entry) for entry in learned.history])
    tensors = {f"{step}/{name}": kept for step, mask in learned.masks.items() for name, kept in mask.tensors.items()}
    folder.write_tensors("stages/masks.safetensors", tensors)


def read_masks(folder: RunFolder) -> LearnedMasks | None:
    """Read what `write_masks` wrote, if it came to its end."""
    if not folder.has("stages/masks.safetensors"):
        return None
    masks: dict[int, dict[str, Tensor]] = {}
    for key, kept in folder.read_tensors("stages/masks.safetensors").items():
        step, _, name = key.partition("/")
        masks.setdefault(int(step), {})[name] = kept
    history = tuple(MaskHistoryEntry(**entry) for entry in folder.read_json("stages/masks.json"))
    return LearnedMasks({step: BinaryMask(masks[step]) for step in sorted(masks)}, history)


def write_candidates(folder: RunFolder, name: str, candidates: list[Candidate]) -> None:
    """Write the candidates of one base network under ``stages/``."""
    summaries = []
    tensors: dict[str, Tensor] = {}
    # Networks that differ in the head alone share all other tensors, here as in memory.
    keys: dict[int, str] = {}
    shared: dict[str, str] = {}
    for index, candidate in enumerate(candidates):
        summaries.append(
            {
                "name": candidate.name,
                "kind": candidate.kind,
                "score": candidate.score,
                "val_average_accuracy": candidate.val_average_accuracy,
                "test": None if candidate.test is None else evaluation_to_dict(candidate.test),
            }
        )
        tensors[f"{index}/val/predictions"] = candidate.val_predictions
        if candidate.expected is not None:
            tensors[f"{index}/val/expected"] = candidate.expected
        for what, own in (("mask", candidate.mask.tensors), ("state", candidate.state)):
            for tensor_name, tensor in own.items():
                key = f"{index}/{what}/{tensor_name}"
                first = keys.setdefault(id(tensor), key)
                if first == key:
                    tensors[key] = tensor
                else:
                    shared[key] = first
    folder.write_json(f"stages/{name}.json", {"candidates": summaries, "shared": shared})
    folder.write_tensors(f"stages/{name}.safetensors", tensors)


def read_candidates(folder: RunFolder, name: str) -> list[Candidate] | None:
    """Read what `write_candidates` wrote, if it came to its end."""
    if not folder.has(f"stages/{name}.safetensors"):
        return None
    stored = folder.read_json(f"stages/{name}.json")
    tensors = folder.read_tensors(f"stages/{name}.safetensors")
    parts: dict[tuple[int, str], dict[str, Tensor]] = {}
    for key, tensor in (tensors | {key: tensors[first] for key, first in stored["shared"].items()}).items():
        index, what, tensor_name = key.split("/", 2)
        parts.setdefault((int(index), what), {})[tensor_name] = tensor
    return [
        Candidate(
            name=summary["name"],
            kind=summary["kind"],
            mask=BinaryMask(parts.get((index, "mask"), {})),
            score=summary["score"],
            val_predictions=parts[index, "val"]["predictions"],
            expected=parts[index, "val"].get("expected"),
            val_average_accuracy=summary["val_average_accuracy"],
            test=None if summary["test"] is None else evaluation_from_dict(summary["test"]),
            state=parts.get((index, "state"), {}),
        )
        for index, summary in enumerate(stored["candidates"])
    ]


def evaluation_to_dict(evaluation: GroupEvaluation) -> dict[str, Any]:
    """Turn figures into what ``metrics.json`` holds."""
    return dataclasses.asdict(evaluation)


def evaluation_from_dict(values: dict[str, Any]) -> GroupEvaluation:
    """Turn what ``metrics.json`` holds back into figures."""
    low, high = values["worst_group_ci95"]
    groups = tuple(_group_from_dict(group) for group in values["groups"])
    attributes = tuple(
        AttributeWorstGroup(
            name=attribute["name"],
            worst_group_accuracy=attribute["worst_group_accuracy"],
            worst_group_ci95=(attribute["worst_group_ci95"][0], attribute["worst_group_ci95"][1]),
            worst_group=_group_from_dict(attribute["worst_group"]),
        )
        for attribute in values.get("attributes", ())  # runs of before there were any
    )
    return GroupEvaluation(**{**values, "groups": groups, "worst_group_ci95": (low, high), "attributes": attributes})


def _group_from_dict(group: dict[str, Any]) -> GroupAccuracy:
    return GroupAccuracy(**{**group, "ci95": None if group["ci95"] is None else tuple(group["ci95"])})


def write_skipped(folder: RunFolder, data: Data) -> None:
    """Write ``skipped.csv``, the samples that were left out, if there are any.

    Raises:
        RunFolderError: If the folder belongs to a run that left out others: its stages would not fit these data.
    """
    table = pd.DataFrame(
        [dataclasses.asdict(sample) for sample in data.skipped], columns=["split", "sample_id", "problem"]
    )
    before = folder.read_csv(SKIPPED)["sample_id"].tolist() if folder.has(SKIPPED) else []
    now = table["sample_id"].tolist()
    if folder.has(ERM_WEIGHTS) and before != now:
        raise RunFolderError(
            f"run folder {folder.path} was begun with {len(before)} images skipped, now there are {len(now)}; put the "
            "images back as they were, or throw that run away with --force"
        )
    if now:
        folder.write_csv(SKIPPED, table)


def run_to_dict(config: RunConfig, data: Data, circumstances: Mapping[str, Any]) -> dict[str, Any]:
    """Turn what ``metrics.json`` says of every run, whatever its remedy, into plain values."""
    return {
        "format": FORMAT,
        **told_versions(),
        "data": data_to_dict(data),
        "model": config.model,
        "seed": config.seed,
        **circumstances,
    }


def group_label_uses(config: RunConfig) -> list[str]:
    """Say what the group labels are used for, beside what a remedy declares to need them for."""
    return (["selection"] if config.selection.rule == "validation-groups" else []) + ["evaluation"]


def data_to_dict(data: Data) -> dict[str, Any]:
    """Turn what the figures are of into plain values."""
    return {"name": data.name, "classes": data.class_names, "attributes": data.attribute_names, **data.origin}


def told_versions() -> dict[str, Any]:
    """Return what a run folder tells of the programs that made it."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in _TOLD_VERSIONS}}
    return {"prusc": version("prusc"), "versions": versions}


def write_result(folder: RunFolder, result: DebiasingResult, data: Data, *, circumstances: Mapping[str, Any]) -> None:
    """Write ``candidates.csv`` and, last of all files, ``metrics.json``.

    Args:
        folder: Where to.
        result: What the run gives back.
        data: What it was made from.
        circumstances: What else ``metrics.json`` tells of how the run was made.
    """
    rows = []
    for candidate in result.candidates:
        row = {key: value for key, value in dataclasses.asdict(candidate).items() if key != "test"}
        if candidate.test is not None:
            row |= {
                "test_average_accuracy": candidate.test.average_accuracy,
                "test_worst_group_accuracy": candidate.test.worst_group_accuracy,
            }
        rows.append(row)
    folder.write_csv("candidates.csv", pd.DataFrame(rows))
    config = result.config
    trials = [dataclasses.asdict(trial) for trial in result.clustering.trials]
    folder.write_json(
        METRICS,
        {
            **run_to_dict(config, data, circumstances),
            "method": "prusc",
            "handed_back": "subnetwork",
            "selection": describe_selection(
                config.selection.rule, result.clustering, held_out_heads=config.finetune.head_folds > 0
            ),
            "trains_on_validation": config.trains_on_validation,
            "judged_by": result.judged_by,
            "group_labels_used_for": group_label_uses(config),
            "verdict": result.verdict,
            "verdict_text": VERDICT_TEXTS[result.verdict],
            "chosen": result.chosen,
            "density": result.mask.density,
            "density_per_layer": result.mask.density_per_layer,
            "num_clusters": result.clustering.num_clusters,
            "cluster_structure": result.clustering.structure,
            "cluster_trials": trials,
            "cells": [dataclasses.asdict(cell) for cell in result.cells],
            "clusters": [dataclasses.asdict(cluster) for cluster in result.clusters],
            "seconds": result.seconds,
            "results": {
                name: {split: evaluation_to_dict(evaluation) for split, evaluation in splits.items()}
                for name, splits in result.evaluations.items()
            },
        },
    )
