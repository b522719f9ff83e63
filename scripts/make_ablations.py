"""Change one setting at a time, and write docs/results/ablations.md's table.

    python scripts/make_ablations.py                # everything, in runs/ablations; finished runs are kept
    python scripts/make_ablations.py --tables-only  # the table alone, from docs/data/ablations.csv

The seeds differ from those of docs/results. Arms are compared by validation cells, like the candidates of a run; the
clusters are those of the defaults for all arms. The test figures beside them show how reliable this comparison is. All
arms of a seed start from the same ERM network, unless they change its training.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from experiments import ROOT, Experiment, insert, mean_and_deviation, read_rows, run_all, table
from safetensors.torch import load_file
from torch import Tensor

from prusc.config import RunConfig
from prusc.data import Data, InputTransform
from prusc.engine.feed import Feed
from prusc.engine.progress import SilentProgress
from prusc.engine.runtime import Runtime
from prusc.runs.folder import RunFolder
from prusc.runs.inputs import build_run_model, load_run_data
from prusc.stages.cells import Cells
from prusc.stages.representations import predict
from prusc.stages.selection.judge import make_judge

ABLATIONS = ROOT / "docs" / "data" / "ablations.csv"
SEEDS = (20, 21, 22)
BASE = "defaults"

ARMS: dict[str, dict[str, dict[str, Any]]] = {
    BASE: {},
    "beta 0 (no contrast)": {"masks": {"beta": 0.0}},
    "beta 0.1": {"masks": {"beta": 0.1}},
    "start 1": {"masks": {"initial_logit": 1.0}},
    "start 2": {"masks": {"initial_logit": 2.0}},
    "mask rate 0.03": {"masks": {"learning_rate": 0.03}},
    "mask rate 0.2": {"masks": {"learning_rate": 0.2}},
    "sparsity 0": {"masks": {"sparsity": 0.0}},
    "sparsity 3": {"masks": {"sparsity": 3.0}},
    "negatives of the whole cluster": {"masks": {"negatives": "cluster"}},
    "first convolution not masked": {"masks": {"exclude": ("encoder.0.*",)}},
    "BatchNorm not re-estimated": {"masks": {"reestimate_batch_norm": False}},
    "K 8": {"clustering": {"num_clusters": 8}},
    "K 16": {"clustering": {"num_clusters": 16}},
    "clusters of the final network": {"clustering": {"checkpoint": None}},
    "clusters of epoch 5": {"clustering": {"checkpoint": 5}},
    "de-biasing set from validation": {"debiasing_set": {"split": "val"}},
    "draws by the square root of a cell's size": {"debiasing_set": {"cell_exponent": 0.5}},
    "no fine-tuning": {"finetune": {"learning_rates": ()}},
    "no new head": {"finetune": {"head_l2": ()}},
    "published mask settings": {
        "masks": {
            "beta": 0.1,
            "initial_logit": 1.5,
            "learning_rate": 0.01,
            "sparsity_term": "sum-of-logits",
            "sparsity": 1e-8,
            "negatives": "cluster",
            "batch_size": 64,
        }
    },
    "ERM of 8 epochs with flips": {"erm": {"epochs": 8, "flip": True}},
}


def make_config(arm: str, seed: int) -> RunConfig:
    """Return the settings of one arm."""
    config = RunConfig(seed=seed, evaluate_candidates=True, controls=False)
    parts = {part: replace(getattr(config, part), **changes) for part, changes in ARMS[arm].items()}
    return replace(config, **parts)


def share_training(arm: Experiment, base: Experiment, out: Path) -> None:
    """Let an arm resume from the ERM network of the base, unless the arm changes its training."""
    if arm.config.erm != base.config.erm or arm.folder(out).exists():
        return
    folder = RunFolder(arm.folder(out))
    folder.open(arm.config, force=False)
    (folder.path / "checkpoints").mkdir()
    # The ERM network comes last, because the stage counts as finished with it.
    for source in [*sorted(base.folder(out).glob("checkpoints/*")), base.folder(out) / "erm.safetensors"]:
        (folder.path / source.relative_to(base.folder(out))).hardlink_to(source)


@dataclass(frozen=True, eq=False)
class Chosen:
    """The chosen network of an arm, in the form that a judge takes."""

    val_logits: Tensor


@cache
def data_of(seed: int) -> Data:
    """Return the data that all arms of a seed share."""
    return load_run_data(make_config(BASE, seed), SilentProgress())


def score_on_cells(arm: Experiment, base: Experiment, out: Path) -> float | None:
    """Score the chosen network of an arm on the cells of the defaults' clusters, which may differ from the arm's.

    Returns:
        The score; ``None`` if the arm learned from validation samples.
    """
    config = arm.config
    if config.debiasing_set.split == "val":
        return None
    data = data_of(config.seed)
    model = build_run_model(config, data, None)
    model.load_state_dict(load_file(arm.folder(out) / "model.safetensors"))
    feed = Feed(data.val, InputTransform(data.mean, data.std), Runtime(config.runtime))
    clusters = pd.read_csv(base.folder(out) / "clusters.csv")
    cluster_ids = torch.from_numpy(clusters[clusters.split == "val"].cluster_assign.to_numpy(copy=True))
    cells = Cells(data.val.labels, cluster_ids, num_classes=data.num_classes)
    return make_judge(cells, config.selection).score(Chosen(predict(model, feed))).score


def make_table(rows: pd.DataFrame) -> str:
    """Return one row per arm: score on validation cells, and test figures of the chosen network."""
    of_arm = {arm: rows[rows.experiment == arm].sort_values("seed") for arm in ARMS}
    lines = []
    for arm, own in of_arm.items():
        if own.empty:
            continue
        scores = own.score_on_cells
        differences = scores.to_numpy() - of_arm[BASE].score_on_cells.to_numpy()
        lines.append(
            [
                arm,
                "" if scores.hasnans else mean_and_deviation(scores),
                "" if scores.hasnans or arm == BASE else ", ".join(f"{100 * value:+.1f}" for value in differences),
                mean_and_deviation(own.average_accuracy),
                mean_and_deviation(own.worst_group_accuracy),
                ", ".join(f"{100 * value:.1f}" for value in own.worst_group_accuracy),
                f"{statistics.mean(own.density):.2f}",
                f"{statistics.mean(own.regret):.3f}",
            ]
        )
    header = ["changed", "score on cells", "against the defaults", "average", "worst group", "each seed", "kept"]
    return table([*header, "regret"], lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "ablations")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tables-only", action="store_true")
    options = parser.parse_args(arguments)
    if not options.tables_only:
        arms = {arm: [Experiment(arm, make_config(arm, seed)) for seed in SEEDS] for arm in ARMS}
        run_all(arms[BASE], options.out, options.workers)
        for own in arms.values():
            for experiment, base in zip(own, arms[BASE], strict=True):
                share_training(experiment, base, options.out)
        everything = [experiment for own in arms.values() for experiment in own]
        run_all(everything, options.out, options.workers)
        rows = read_rows(everything, options.out)
        rows = rows[rows.network == "subnetwork"].copy()
        rows["score_on_cells"] = [
            score_on_cells(experiment, base, options.out)
            for own in arms.values()
            for experiment, base in zip(own, arms[BASE], strict=True)
        ]
        ABLATIONS.parent.mkdir(exist_ok=True)
        rows.to_csv(ABLATIONS, index=False, float_format="%.6g")
    insert(ROOT / "docs" / "results" / "ablations.md", "ablations", make_table(pd.read_csv(ABLATIONS)))


if __name__ == "__main__":
    main()
