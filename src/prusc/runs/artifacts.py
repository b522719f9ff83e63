"""The files of a run folder: written from the objects of the stages, and read back."""

import dataclasses
import platform
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from itertools import product
from typing import Any

import pandas as pd
from torch import Tensor

from prusc.config import RunConfig
from prusc.config.version import find_version
from prusc.data.arrays import tabulate_ids
from prusc.data.table import Data
from prusc.errors import RunFolderError
from prusc.masks import BinaryMask
from prusc.runs.folder import FORMAT, METRICS, SKIPPED, RunFolder
from prusc.runs.group_labels import list_group_uses
from prusc.runs.result import DebiasingResult
from prusc.stages.candidates import Candidate
from prusc.stages.debiasing_set import DebiasingSet
from prusc.stages.evaluation import AttributeWorstGroup, GroupAccuracy, GroupEvaluation
from prusc.stages.heads import Head
from prusc.stages.mask_learning import LearnedMasks, MaskHistoryEntry
from prusc.stages.pseudo_attributes.attribute import AttributeValues, Evidence, PseudoAttribute
from prusc.stages.pseudo_attributes.clustering import ClusterCountTrial, Clustering
from prusc.stages.selection.texts import describe_selection
from prusc.stages.selection.verdict import VERDICT_TEXTS

# The first file that a stage writes.
ERM_WEIGHTS = "erm.safetensors"

_ROWS_AT_ONCE = 2**18

# Packages that results may depend on.
_TOLD_VERSIONS = ("torch", "torchvision", "timm", "scikit-learn", "numpy")


def write_attribute(folder: RunFolder, attribute: PseudoAttribute, data: Data) -> None:
    """Write ``clusters.csv`` and what a resumed run needs.

    The table has the columns of PruSC's public code (``index``, ``label``, ``cluster_assign``) and further ones.

    Args:
        folder: The run folder.
        attribute: The pseudo-attribute of the training and the validation split.
        data: Labels and sample names.
    """
    tensors = {"centres": attribute.clustering.centres}
    for name, values in attribute.splits.items():
        tensors |= {f"{name}/{key}": value for key, value in vars(values).items()}
    folder.write_csv("clusters.csv", _tabulate_clusters(attribute, data))
    folder.write_json(
        "stages/clustering.json",
        {
            "trials": [dataclasses.asdict(trial) for trial in attribute.clustering.trials],
            "structure": attribute.clustering.structure,
            "source": attribute.source,
            "evidence": [dataclasses.asdict(one) for one in attribute.evidence],
        },
    )
    folder.write_tensors("stages/clustering.safetensors", tensors)


def _tabulate_clusters(attribute: PseudoAttribute, data: Data) -> Iterator[pd.DataFrame]:
    for name, values in attribute.splits.items():
        split = data.splits[name]
        for start in range(0, len(split), _ROWS_AT_ONCE):
            here = slice(start, min(start + _ROWS_AT_ONCE, len(split)))
            yield pd.DataFrame(
                {
                    "index": range(here.start, here.stop),
                    "label": split.labels[here].numpy(),
                    "cluster_assign": values.ids[here].numpy(),
                    "split": name,
                    "sample_id": tabulate_ids(split.sample_ids[here]),
                    "similarity": values.similarities[here].numpy().round(4),
                    "margin": values.margins[here].numpy().round(4),
                }
            )


def read_attribute(folder: RunFolder) -> PseudoAttribute | None:
    """Read what `write_attribute` wrote, or ``None`` if it did not finish."""
    if not folder.has("stages/clustering.safetensors"):
        return None
    tensors = folder.read_tensors("stages/clustering.safetensors")
    stored = folder.read_json("stages/clustering.json")
    if "evidence" not in stored:  # From an older prusc: the pseudo-attribute is inferred again.
        return None
    trials = tuple(ClusterCountTrial(**trial) for trial in stored["trials"])
    centres = tensors.pop("centres")
    of_split: dict[str, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        split, _, name = key.partition("/")
        of_split.setdefault(split, {})[name] = value
    splits = {name: AttributeValues(**of_split[name]) for name in ("train", "val")}
    train = splits["train"]
    clustering = Clustering(train.ids, centres, trials, stored["structure"], train.margins)
    evidence = tuple(evidence_from_dict(one) for one in stored["evidence"])
    return PseudoAttribute(clustering, splits, stored["source"], evidence)


def evidence_from_dict(values: dict[str, Any]) -> Evidence:
    """Turn plain values of ``metrics.json`` back into the evidence for a source."""
    interval = values["gap_ci95"]
    return Evidence(**values | {"gap_ci95": None if interval is None else (interval[0], interval[1])})


def write_debiasing_set(folder: RunFolder, debiasing_set: DebiasingSet, data: Data) -> None:
    """Write ``debiasing_set.csv``: the size of each cell, how many of its samples may be drawn, and its share."""
    cells = debiasing_set.cells
    rows = []
    for label, cluster in product(range(data.num_classes), range(cells.num_values)):
        drawn = debiasing_set.weights[(cells.labels == label) & (cells.attribute_ids == cluster)]
        rows.append(
            {
                "label": label,
                "class": data.class_names[label],
                "cluster": cluster,
                "num_samples": len(drawn),
                "num_drawn": int((drawn > 0).sum()),
                "share": float(drawn.sum()),
            }
        )
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
    """Read what `write_masks` wrote, or ``None`` if it did not finish."""
    if not folder.has("stages/masks.safetensors"):
        return None
    masks: dict[int, dict[str, Tensor]] = {}
    for key, kept in folder.read_tensors("stages/masks.safetensors").items():
        step, _, name = key.partition("/")
        masks.setdefault(int(step), {})[name] = kept
    history = tuple(MaskHistoryEntry(**entry) for entry in folder.read_json("stages/masks.json"))
    return LearnedMasks({step: BinaryMask(masks[step]) for step in sorted(masks)}, history)


def write_candidates(folder: RunFolder, candidates: list[Candidate], name: str) -> None:
    """Write the candidates of one base network under ``stages/``."""
    summaries = []
    tensors: dict[str, Tensor] = {}
    masks: dict[int, int] = {}
    for index, candidate in enumerate(candidates):
        # Heads of a base network share one mask, which is stored once.
        first = masks.setdefault(id(candidate.mask), index)
        summaries.append(
            {
                "name": candidate.name,
                "kind": candidate.kind,
                "mask": first,
                "learning_rate": candidate.learning_rate,
                "test": None if candidate.test is None else evaluation_to_dict(candidate.test),
            }
        )
        tensors[f"{index}/val/logits"] = candidate.val_logits
        head = {} if candidate.head is None else candidate.head._asdict()
        mask = candidate.mask.tensors if first == index else {}
        for part, own in (("mask", mask), ("head", head), ("state", candidate.state)):
            tensors |= {f"{index}/{part}/{key}": tensor for key, tensor in own.items()}
    folder.write_json(f"stages/{name}.json", summaries)
    folder.write_tensors(f"stages/{name}.safetensors", tensors)


def read_candidates(folder: RunFolder, name: str) -> list[Candidate] | None:
    """Read what `write_candidates` wrote, or ``None`` if it did not finish."""
    if not folder.has(f"stages/{name}.safetensors"):
        return None
    parts: dict[tuple[int, str], dict[str, Tensor]] = {}
    for key, tensor in folder.read_tensors(f"stages/{name}.safetensors").items():
        index, part, tensor_name = key.split("/", 2)
        parts.setdefault((int(index), part), {})[tensor_name] = tensor
    return [
        Candidate(
            name=summary["name"],
            kind=summary["kind"],
            mask=BinaryMask(parts.get((summary["mask"], "mask"), {})),
            val_logits=parts[index, "val"]["logits"],
            test=None if summary["test"] is None else evaluation_from_dict(summary["test"]),
            head=Head(**parts[index, "head"]) if (index, "head") in parts else None,
            learning_rate=summary["learning_rate"],
            state=parts.get((index, "state"), {}),
        )
        for index, summary in enumerate(folder.read_json(f"stages/{name}.json"))
    ]


def evaluation_to_dict(evaluation: GroupEvaluation) -> dict[str, Any]:
    """Turn an evaluation into plain values for ``metrics.json``."""
    return dataclasses.asdict(evaluation)


def evaluation_from_dict(values: dict[str, Any]) -> GroupEvaluation:
    """Turn plain values from ``metrics.json`` back into an evaluation."""
    low, high = values["worst_group_ci95"]
    groups = tuple(_group_from_dict(group) for group in values["groups"])
    attributes = tuple(
        AttributeWorstGroup(
            name=attribute["name"],
            worst_group_accuracy=attribute["worst_group_accuracy"],
            worst_group_ci95=(attribute["worst_group_ci95"][0], attribute["worst_group_ci95"][1]),
            worst_group=_group_from_dict(attribute["worst_group"]),
        )
        for attribute in values.get("attributes", ())  # Older runs have none.
    )
    return GroupEvaluation(**{**values, "groups": groups, "worst_group_ci95": (low, high), "attributes": attributes})


def _group_from_dict(group: dict[str, Any]) -> GroupAccuracy:
    return GroupAccuracy(**{**group, "ci95": None if group["ci95"] is None else tuple(group["ci95"])})


def write_skipped(folder: RunFolder, data: Data) -> None:
    """Write ``skipped.csv``, the list of unreadable samples, if there are any.

    Raises:
        RunFolderError: If the run in the folder skipped other samples, because its stages do not fit these data.
    """
    table = pd.DataFrame(
        [dataclasses.asdict(sample) for sample in data.skipped], columns=["split", "sample_id", "problem"]
    )
    before = folder.read_csv(SKIPPED)["sample_id"].tolist() if folder.has(SKIPPED) else []
    now = table["sample_id"].tolist()
    if folder.has(ERM_WEIGHTS) and before != now:
        raise RunFolderError(
            f"the run in folder {folder.path} skipped {len(before)} images, and these data skip {len(now)}; restore "
            "the images, or delete that run with --force"
        )
    if now:
        folder.write_csv(SKIPPED, table)


def run_to_dict(config: RunConfig, data: Data, circumstances: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of ``metrics.json`` that runs of every remedy share, as plain values."""
    return {
        "format": FORMAT,
        **told_versions(),
        "data": data_to_dict(data),
        "model": config.model,
        "seed": config.seed,
        **circumstances,
    }


def data_to_dict(data: Data) -> dict[str, Any]:
    """Return a description of the data as plain values."""
    return {"name": data.name, "classes": data.class_names, "attributes": data.attribute_names, **data.origin}


def told_versions() -> dict[str, Any]:
    """Return the versions of prusc, Python and the packages that results depend on."""
    versions = {"python": platform.python_version(), **{name: version(name) for name in _TOLD_VERSIONS}}
    return {"prusc": find_version(), "versions": versions}


def describe_candidate(test: GroupEvaluation, val: GroupEvaluation | None) -> dict[str, float | None]:
    """Return what ``candidates.csv`` says about a candidate that is evaluated by true groups; it decides nothing."""
    found = {
        "test_average_accuracy": test.average_accuracy,
        "test_worst_group_accuracy": test.worst_group_accuracy,
        "test_aligned_accuracy": test.aligned_accuracy,
        "test_conflicting_accuracy": test.conflicting_accuracy,
    }
    return found if val is None else {**found, **_describe_val(val)}


def _describe_val(val: GroupEvaluation) -> dict[str, float | None]:
    return {"val_worst_group_accuracy": val.worst_group_accuracy, "val_balanced_accuracy": val.balanced_accuracy}


def write_result(folder: RunFolder, result: DebiasingResult, data: Data, *, circumstances: Mapping[str, Any]) -> None:
    """Write the chosen network, its mask, ``candidates.csv`` and, last of all files, ``metrics.json``.

    Args:
        folder: The run folder.
        result: The result of the run.
        data: The data of the run.
        circumstances: Further entries of ``metrics.json`` about how the run was made.
    """
    folder.write_tensors("mask.safetensors", result.mask.tensors)
    folder.write_tensors("model.safetensors", result.model.state_dict())
    rows = []
    for candidate in result.candidates:
        row = {key: value for key, value in dataclasses.asdict(candidate).items() if key not in ("test", "val")}
        if candidate.flops is None:
            del row["flops"]
        if candidate.test is not None:
            row |= describe_candidate(candidate.test, candidate.val)
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
            "selection": describe_selection(config.selection.rule, held_out_heads=config.head_folds > 0),
            "trains_on_validation": config.trains_on_validation,
            "judged_by": result.judged_by,
            "group_labels_used_for": list_group_uses(
                config,
                has_attributes=bool(data.attribute_names),
                names_suspects=any(c.is_suspect for c in result.clusters),
            ),
            "verdict": result.verdict,
            "verdict_text": VERDICT_TEXTS[result.verdict],
            "p_value": result.p_value,
            "evidence": [dataclasses.asdict(one) for one in result.evidence],
            "chosen": result.chosen,
            "density": result.mask.density,
            "density_per_layer": result.mask.density_per_layer,
            **({} if result.flops is None else {"flops": result.flops}),
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
