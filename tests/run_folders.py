"""Folders of runs and audits made from arrays: any number of samples, any names, no training."""

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file

from prusc import RunConfig, debias
from prusc.config import AuditConfig, ClusteringConfig, DataConfig, ERMConfig, FinetuneConfig, MaskConfig, RuntimeConfig
from prusc.data.table import Data, Split
from prusc.runs.artifacts import evaluation_to_dict
from prusc.runs.folder import RunFolder
from prusc.runs.samples.attention import summarise_region
from prusc.runs.samples.contact_sheets import write_sheets
from prusc.runs.samples.names import Names, SuspectName, write_names
from prusc.stages.audit.class_probe import ClassProbe
from prusc.stages.audit.clusters import AUDIT_TEXTS, ClusterAudit, judge_clusters
from prusc.stages.audit.naming import Difference
from prusc.stages.cells import Cells
from prusc.stages.evaluation import evaluate_groups
from prusc.stages.selection.scores import measure_cells
from tests.networks import striped_data

FAMILIES = {"erm": 0.5, "last_layer": 0.6, "finetune_all": 0.65, "subnetwork": 0.8}
NUM_PICTURES, NUM_ATTENTION = 30, 8
# What the table of samples says of a test sample.
UNKNOWN = {
    "confidence/erm": -1.0,
    "confidence/subnetwork": -1.0,
    "kind": "",
    "suggested": -1,
    "confidence/suggested": -1.0,
}

# A run of a second.
TINY = RunConfig(
    erm=ERMConfig(epochs=1, batch_size=16),
    clustering=ClusteringConfig(num_clusters=3),
    masks=MaskConfig(steps=2, snapshots=1, batch_size=16),
    finetune=FinetuneConfig(steps=2, batch_size=16, head_l2=(0.1,)),
    runtime=RuntimeConfig(device="cpu", num_workers=0),
)


def make_channel_run(path: Path) -> None:
    """Write a folder of images, and a run on it that keeps a part of the channels.

    Args:
        path: Folder for both: ``images`` and ``run``.
    """
    for name, split in striped_data(60).splits.items():
        for index, (image, label) in enumerate(zip(split.inputs, split.labels.tolist(), strict=True)):
            file = path / "images" / name / "abc"[label] / f"{index}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image.permute(1, 2, 0).numpy()).save(file)
    config = replace(
        TINY,
        data=str(path / "images"),
        data_options=DataConfig(image_size=8),
        masks=replace(TINY.masks, budget_flops=0.5),
        finetune=replace(TINY.finetune, learning_rates=()),
    )
    debias(config=config, out=path / "run")


def make_run(
    path: Path,
    *,
    num_samples: int = 240,
    class_names: Sequence[str] = ("cat", "dog"),
    attribute: tuple[str, Sequence[str]] | None = ("place", ("in", "out")),
    sample_name: str = "sample",
    verdict: str = "improved",
    seed: int = 0,
) -> Path:
    """Write the folder of a finished run, as `prusc run` would leave it, without the networks.

    Args:
        path: The folder.
        num_samples: Half of them are of the validation split, half of the test split.
        class_names: One a class.
        attribute: A name and its values; without it there are no groups but the classes.
        sample_name: What the names of the samples begin with.
        verdict: Of the run.
        seed: Decides everything random.
    """
    rng = np.random.default_rng(seed)
    num_classes, half = len(class_names), num_samples // 2
    splits = {name: _make_split(rng, half, num_classes, attribute, sample_name) for name in ("train", "val", "test")}
    data = Data(
        "made <b>up</b>",
        tuple(class_names),
        **splits,
        attribute_names=() if attribute is None else (attribute[0],),
        attribute_values=() if attribute is None else (tuple(attribute[1]),),
    )
    predictions = {
        family: {name: _predict(rng, split.labels, share, num_classes) for name, split in splits.items()}
        for family, share in FAMILIES.items()
    }
    clusters = {name: torch.from_numpy(rng.integers(0, 3, half)) for name in splits}
    folder = RunFolder(path)
    folder.open(RunConfig(), force=False)
    tables = [
        pd.DataFrame(
            {"index": range(half), "label": splits[name].labels, "cluster_assign": clusters[name], "split": name}
        )
        for name in ("train", "val")
    ]
    folder.write_csv("clusters.csv", pd.concat(tables))
    _write_samples(folder, data, predictions, clusters["val"], rng)
    steps = np.arange(1, 6)
    history = {"step": steps, "cross_entropy": 1 / steps, "contrastive": 2 / steps, "density": 1 / steps}
    folder.write_csv("history.csv", pd.DataFrame({**history, "density/layer.weight": 1 / steps}))
    candidate = {"density": 0.3, "score": 0.7, "score_error": 0.05, "val_average_accuracy": 0.8}
    names = {"erm": "dense", "subnetwork": "mask@5"}
    folder.write_csv("candidates.csv", pd.DataFrame([{"name": n, "family": f, **candidate} for f, n in names.items()]))
    folder.append_log("a line")
    cells = measure_cells(
        predictions["erm"]["val"], predictions["subnetwork"]["val"], Cells(data.val.labels, clusters["val"])
    )
    folder.write_json(
        "metrics.json",
        {
            "format": 1,
            "prusc": "0.1.0",
            "data": {"name": data.name, "classes": data.class_names, "attributes": data.attribute_names},
            "model": "small-cnn",
            "seed": seed,
            "judged_by": "cells",
            "verdict": verdict,
            "verdict_text": "what it means",
            "chosen": names,
            "density": 0.3,
            "density_per_layer": {"layer.weight": 0.3},
            "cells": [vars(cell) for cell in cells],
            "clusters": [asdict(cluster) for cluster in _test_clusters(data, predictions, clusters["val"])],
            "seconds": {"erm": 1.5},
            "results": {
                family: {
                    name: evaluation_to_dict(evaluate_groups(found[name], splits[name], data))
                    for name in ("val", "test")
                }
                for family, found in predictions.items()
            },
        },
    )
    return path


def make_audit(
    path: Path,
    *,
    class_names: Sequence[str] = ("cat", "dog"),
    attribute: tuple[str, Sequence[str]] | None = ("place", ("in", "out")),
    sample_name: str = "sample",
    verdict: str = "suspected",
) -> Path:
    """Write the folder of an audit, as `prusc audit` would leave it, without the network; arguments as above."""
    make_run(path, class_names=class_names, attribute=attribute, sample_name=sample_name)
    metrics = json.loads((path / "metrics.json").read_text())
    for name in ("metrics.json", "candidates.csv", "history.csv"):
        (path / name).unlink()
    table = pd.read_csv(path / "samples/samples.csv", keep_default_na=False)
    table = table[table["split"] == "val"].drop(columns=[f"prediction/{name}" for name in FAMILIES if name != "erm"])
    folder = RunFolder(path)
    folder.write_csv("samples/samples.csv", table)
    for name in ("map", "attention"):
        file = path / f"samples/{name}.safetensors"
        save_file({"before": load_file(file)["before"]}, file)
    about = json.loads((path / "samples/about.json").read_text())
    for region in about["attention"]["regions"]:
        region |= {"after": None, "change": None}
    folder.write_json("samples/about.json", about)
    tested, has_suspect = metrics["clusters"], verdict in ("suspected", "unclear")
    for cluster in tested:
        cluster |= {"is_suspect": has_suspect and cluster["cluster"] == 1, "silhouette": 0.8}
    tested.sort(key=lambda cluster: not cluster["is_suspect"])
    main = {cluster["cluster"]: cluster["main_label"] for cluster in tested}
    rank = {cluster["cluster"]: number for number, cluster in enumerate(tested, start=1)}
    rows = [
        {
            "rank": rank[row["cluster"]],
            "sample_id": row["sample_id"],
            "label": class_names[row["label"]],
            "prediction": class_names[row["prediction/erm"]],
            "cluster": row["cluster"],
            "main_class": class_names[main[row["cluster"]]],
            "is_suspect": has_suspect and row["cluster"] == 1,
            "similarity": row["similarity"],
        }
        for row in table.to_dict("records")
        if row["label"] != main[row["cluster"]]
    ]
    folder.write_csv("look_at.csv", pd.DataFrame(rows).sort_values("rank", kind="stable"))
    told = {name: metrics[name] for name in ("format", "prusc", "data", "model", "seed", "seconds")}
    agreement = {"name": "class", "adjusted_mutual_information": 0.25, "purity": 0.6}
    folder.write_json(
        "audit.json",
        {
            **told,
            "num_samples": len(table),
            "verdict": verdict,
            "verdict_text": AUDIT_TEXTS[verdict],  # type: ignore[index]
            "structure": "weak" if verdict == "not-found" else "strong",
            "silhouettes": [{"num_clusters": 9, "silhouette": 0.77, "inertia": 0.1}],
            "agreements": [agreement, *([{**agreement, "name": attribute[0]}] if attribute else [])],
            "clusters": [
                {**cluster, "class_counts": dict(zip(class_names, cluster["class_counts"], strict=True))}
                for cluster in tested
            ],
        },
    )
    return path


def _test_clusters(
    data: Data, predictions: dict[str, dict[str, torch.Tensor]], val_clusters: torch.Tensor
) -> tuple[ClusterAudit, ...]:
    return judge_clusters(
        predictions["erm"]["val"],
        Cells(data.val.labels, val_clusters, num_classes=data.num_classes, num_values=3),
        AuditConfig(num_permutations=49),
        generator=torch.Generator().manual_seed(0),
    )


def _make_split(
    rng: np.random.Generator,
    size: int,
    num_classes: int,
    attribute: tuple[str, Sequence[str]] | None,
    sample_name: str,
) -> Split:
    labels = torch.from_numpy(rng.permutation(np.arange(size) % num_classes))
    attributes = None if attribute is None else torch.from_numpy(rng.integers(0, len(attribute[1]), (size, 1)))
    return Split(torch.zeros(size, 1), labels, attributes, tuple(f"{sample_name}-{index}" for index in range(size)))


def _predict(rng: np.random.Generator, labels: torch.Tensor, share: float, num_classes: int) -> torch.Tensor:
    right = torch.from_numpy(rng.random(len(labels)) < share)
    return torch.where(right, labels, (labels + 1) % num_classes)


def _write_samples(
    folder: RunFolder,
    data: Data,
    predictions: dict[str, dict[str, torch.Tensor]],
    val_clusters: torch.Tensor,
    rng: np.random.Generator,
) -> None:
    num_val = len(data.val)
    num_map = min(num_val, 5_000)
    numbers = {"map": num_map, "picture": NUM_PICTURES, "attention": NUM_ATTENTION}
    tables = []
    for name in ("val", "test"):
        split, size = data.splits[name], len(data.splits[name])
        shown = {column: np.where(np.arange(size) < n, np.arange(size), -1) for column, n in numbers.items()}
        columns = {"split": name, "index": range(size), "sample_id": split.sample_ids, "label": split.labels}
        if split.attributes is not None:
            values = np.array(data.attribute_values[0], dtype=object)
            columns[f"attribute/{data.attribute_names[0]}"] = values[split.attributes[:, 0].numpy()]
        columns["cluster"] = val_clusters if name == "val" else -1
        columns["similarity"] = 1 - np.arange(size) / size
        columns |= {f"prediction/{family}": found[name] for family, found in predictions.items()}
        columns |= _judge(split, predictions["erm"][name], rng) if name == "val" else UNKNOWN
        tables.append(pd.DataFrame({**columns, **(shown if name == "val" else dict.fromkeys(shown, -1))}))
    folder.write_csv("samples/samples.csv", pd.concat(tables))
    components = {name: rng.normal(size=(num_map, 10)).astype(np.float32) for name in ("before", "after")}
    save_file(components, folder.path / "samples/map.safetensors")
    maps = {name: rng.random((NUM_ATTENTION, 4, 4), dtype=np.float32) for name in ("before", "after")}
    save_file(maps, folder.path / "samples/attention.safetensors")
    sheets = {}
    for name, count, side in (("thumbnails", num_map, 16), ("pictures", NUM_PICTURES, 24)):
        tiles = [Image.fromarray(pixels) for pixels in rng.integers(0, 256, (count, side, side, 3), dtype=np.uint8)]
        files = list(write_sheets(tiles))
        for number, content in enumerate(files):
            folder.write_bytes(f"samples/{name}-{number:03d}.webp", content)
        sheets[name] = {"num_files": len(files), "width": side, "height": side}
    shares = {"before": [0.5, 0.2], "after": [0.4, 0.3]}
    areas, before, after = (rng.random(40) * share for share in (0.1, 0.8, 0.3))
    region = summarise_region("object", areas.tolist(), before.tolist(), after.tolist())
    assert region is not None
    attention = {"why_not": None, "regions": [asdict(region)], "num_unreadable": 2}
    about = {"split": "val", "explained_variance": shares, **sheets, "per_side": 12, "attention": attention}
    folder.write_json("samples/about.json", about)
    _write_names(folder)


def _judge(split: Split, predicted: torch.Tensor, rng: np.random.Generator) -> dict[str, object]:
    """Confidences at random, and a kind for each error of the ERM network."""
    size, wrong = len(split), (predicted != split.labels).numpy()
    kinds = rng.choice(["shortcut", "mislabelled", "error"], size)
    return {
        **{name: rng.uniform(0.4, 1, size).round(4) for name in UNKNOWN if name.startswith("confidence/")},
        "kind": np.where(wrong, kinds, ""),
        "suggested": predicted.numpy(),
    }


def _write_names(folder: RunFolder) -> None:
    """Name cluster 1: a sticker at the left, which makes the whole picture bluer."""
    first = Difference(
        feature="yellow/left",
        text="left: bluer",
        unit="of 100 units of b* (CIELAB)",
        inside=-0.5,
        outside=0.1,
        difference=-0.6,
        ci95=(-0.7, -0.5),
        effect=-1.9,
        auc=0.02,
        p_value=0.001,
    )
    second = replace(first, feature="yellow/whole picture", text="whole picture: bluer", follows="yellow/left")
    given = replace(
        first, feature="place=in", text="place is in: more often", unit="of the samples", inside=0.9, outside=0.25
    )
    maps = torch.zeros(1, 24, 24)
    maps[0, 8:16, :8] = 1.5
    means = torch.rand(1, 2, 3, 40, 40, generator=torch.Generator().manual_seed(0))
    probes = (
        ClassProbe("border", 120, 0.93, (0.88, 0.97), 0.5, True),
        ClassProbe("background", 120, 0.52, (0.42, 0.61), 0.5, False),
    )
    write_names(folder, Names(120, (SuspectName(1, 40, (first, second), (given,)),), probes, maps, means))


def change_metrics(path: Path, **changes: object) -> None:
    """Change values of a run's ``metrics.json``; ``None`` takes one away."""
    file = path / "metrics.json"
    metrics = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({name: value for name, value in metrics.items() if value is not None}))
