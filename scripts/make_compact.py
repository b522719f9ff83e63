"""Compare masks of channels with masks of weights on fashion-stickers, and write docs/results/compact.md's tables.

    python scripts/make_compact.py                # three seeds, in runs/compact; finished runs are kept
    python scripts/make_compact.py --tables-only  # the tables alone, from docs/data/compact-*.csv

All arms of a seed start from the same ERM network. To fit into half an hour on two busy cores the runs are shorter than
the defaults: ERM of 8 epochs with flips, masks of 300 steps of 128 samples, new heads only. The benchmark
``benchmarks/compact.py`` writes the figures of the other tables.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
from experiments import ROOT, Experiment, insert, mean_and_deviation, read_rows, run_all, table
from make_ablations import share_training

from prusc.config import ERMConfig, RunConfig

QUALITY = ROOT / "docs" / "data" / "compact-quality.csv"
SPEED = ROOT / "docs" / "data" / "compact-speed.csv"
PAGE = ROOT / "docs" / "results" / "compact.md"
BASE = "weights"
ARMS: dict[str, dict[str, Any]] = {
    BASE: {},
    "channels, sparsity 1": {"granularity": "channel", "sparsity": 1.0},
    "channels, sparsity 0.3": {"granularity": "channel", "sparsity": 0.3},
    "channels, sparsity 0.1": {"granularity": "channel", "sparsity": 0.1},
    "channels, a quarter of the operations": {"budget_flops": 0.25},
}


def make_config(arm: str, seed: int) -> RunConfig:
    """Return the settings of one arm."""
    config = RunConfig(seed=seed, evaluate_candidates=True, controls=False, erm=ERMConfig(epochs=8, flip=True))
    masks = replace(config.masks, steps=300, batch_size=128, **ARMS[arm])
    return replace(config, masks=masks, finetune=replace(config.finetune, learning_rates=()))


def quality_table(rows: pd.DataFrame) -> str:
    """Return one row per arm: test figures of the chosen network, and the difference to masks of weights."""
    of_arm = {arm: rows[rows.experiment == arm].sort_values("seed").set_index("seed") for arm in ARMS}
    lines = []
    for arm, own in of_arm.items():
        if own.empty:
            continue
        differences = (own.worst_group_accuracy - of_arm[BASE].worst_group_accuracy).dropna()
        lines.append(
            [
                arm,
                "" if own.flops.isna().any() else ", ".join(f"{100 * value:.0f}" for value in own.flops),
                mean_and_deviation(own.average_accuracy),
                mean_and_deviation(own.worst_group_accuracy),
                ", ".join(f"{100 * value:.1f}" for value in own.worst_group_accuracy),
                "" if arm == BASE else f"{100 * statistics.mean(differences):+.1f}",
                ", ".join(own.verdict),
            ]
        )
    header = ["mask logits for", "operations, each seed", "average", "worst group", "each seed", "against weights"]
    return table([*header, "verdict"], lines)


def speed_tables(rows: pd.DataFrame) -> str:
    """Return a table per network: sizes, and the share of the dense network's time for each engine and batch size."""
    parts = []
    for network, own in rows.groupby("network", sort=False):
        cases = list(dict.fromkeys(zip(own.engine, own.batch, strict=True)))
        lines = []
        for density, group in own.groupby("density", sort=False):
            first = group.iloc[0]
            line = [
                f"{density:g}",
                f"{100 * first.share_of_operations:.1f} %",
                f"{first.operations / 1e6:,.0f}",
                f"{first.parameters / 1e6:.2f}",
                f"{first.bytes / 2**20:.1f}",
            ]
            for engine, batch in cases:
                row = group[(group.engine == engine) & (group.batch == batch)].iloc[0]
                line.append(f"{100 * row.share_of_time:.1f} % ({row.time_to_ideal:.2f}; {row.milliseconds:,.1f})")
            lines.append(line)
        header = ["density", "operations", "million", "million parameters", "MiB (ONNX)"]
        header += [f"{engine}, batch {batch}: time (time / ideal; ms)" for engine, batch in cases]
        parts.append(f"### {network}, {own.image_size.iloc[0]} px\n\n{table(header, lines)}")
    return "\n\n".join(parts)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "compact")
    parser.add_argument("--seeds", type=int, nargs="+", default=[30, 31, 32])
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--tables-only", action="store_true")
    options = parser.parse_args(arguments)
    if not options.tables_only:
        for seed in options.seeds:
            arms = [Experiment(arm, make_config(arm, seed)) for arm in ARMS]
            run_all(arms[:1], options.out, options.workers)
            for arm in arms[1:]:
                share_training(arm, arms[0], options.out)
            run_all(arms, options.out, options.workers)
        everything = [Experiment(arm, make_config(arm, seed)) for arm in ARMS for seed in options.seeds]
        rows = read_rows(everything, options.out)
        QUALITY.parent.mkdir(exist_ok=True)
        rows[rows.network == "subnetwork"].to_csv(QUALITY, index=False, float_format="%.6g")
    if QUALITY.exists():
        insert(PAGE, "quality", quality_table(pd.read_csv(QUALITY)))
    if SPEED.exists():
        insert(PAGE, "speed", speed_tables(pd.read_csv(SPEED)))


if __name__ == "__main__":
    main()
