"""Run the experiments of docs/results.md and README.md anew, and write their tables.

    python scripts/make_results.py                        # fashion-stickers, seeds 0 to 4
    PRUSC_DATA=DIR python scripts/make_results.py celeba  # CelebA, seeds 8, 9 and 12, from DIR/celeba and DIR/weights
    PRUSC_DATA=DIR python scripts/make_results.py isic    # ISIC with stickers, seeds 0 to 2, likewise
    python scripts/make_results.py --tables-only          # the tables alone, from docs/data/results.csv

Finished runs are kept in ``runs/results`` and not run again. Every candidate is evaluated on the test split as well, to
measure what the choice without it costs; the choice itself does not see those figures.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from experiments import ROOT, Experiment, insert, percent, read_rows, run_all, seeds_table, table

from prusc.config import ClusteringConfig, DataConfig, ERMConfig, FinetuneConfig, MaskConfig, RunConfig, StickerConfig
from prusc.result import FAMILY_TITLES

RESULTS = ROOT / "docs" / "data" / "results.csv"
NO_SHORTCUT, ONLY_SHORTCUT = "fashion-stickers, correlation 0.25", "fashion-stickers, correlation 0.995"


def make_experiments() -> dict[str, list[Experiment]]:
    """Return the experiments by what they are called on the command line."""
    base = RunConfig(evaluate_candidates=True)
    fashion = [Experiment("fashion-stickers", replace(base, seed=seed)) for seed in range(5)]
    for name, correlation in ((NO_SHORTCUT, 0.25), (ONLY_SHORTCUT, 0.995)):
        options = DataConfig(correlation=correlation)
        fashion += [Experiment(name, replace(base, seed=seed, data_options=options)) for seed in range(3)]
    return {
        "fashion-stickers": fashion,
        "celeba": [Experiment("CelebA", config) for config in celeba_configs(base)],
        "isic": [Experiment("ISIC with stickers", config) for config in isic_configs(base)],
    }


def celeba_configs(base: RunConfig) -> list[RunConfig]:
    """Return the settings for real faces, where ``PRUSC_DATA`` says where they are."""
    folder = os.environ.get("PRUSC_DATA")
    if folder is None:
        return []
    config = replace(
        base,
        data=str(Path(folder) / "celeba"),
        model="torchvision/mobilenet_v2",
        weights=Path(folder) / "weights" / "mobilenet_v2-b0353104.pth",
        data_options=DataConfig(image_size=96),
        erm=ERMConfig(epochs=4, batch_size=64, learning_rate=1e-3, flip=True),
        # Trained from ImageNet, the network has no early epoch that shows more than the last one.
        clustering=ClusteringConfig(checkpoint=None),
        masks=MaskConfig(batch_size=64, learning_rate=0.05, initial_logit=1.0),
        finetune=FinetuneConfig(batch_size=64),
    )
    # The test figures of seeds 0 to 7 were seen while the rule of the choice was being set, the validation groups of 10
    # and 11 looked at.
    return [replace(config, seed=seed) for seed in (8, 9, 12)]


def isic_configs(base: RunConfig) -> list[RunConfig]:
    """Return the settings for moles with a sticker on half of the benign and few of the malignant ones."""
    folder = os.environ.get("PRUSC_DATA")
    if folder is None:
        return []
    stickers = StickerConfig(train_shares=(0.5, 0.03))
    config = replace(
        base,
        data=str(Path(folder) / "isic"),
        model="torchvision/mobilenet_v2",
        weights=Path(folder) / "weights" / "mobilenet_v2-b0353104.pth",
        data_options=DataConfig(image_size=96, keep_together="lesion_id", stickers=stickers),
        erm=ERMConfig(epochs=4, batch_size=64, learning_rate=1e-3, flip=True),
        clustering=ClusteringConfig(checkpoint=None),
        masks=MaskConfig(
            steps=400, batch_size=64, learning_rate=0.05, initial_logit=1.0, snapshots=4, exclude=("classifier.*",)
        ),
        finetune=FinetuneConfig(batch_size=64),
    )
    return [replace(config, seed=seed) for seed in range(3)]


def write_tables(rows: pd.DataFrame) -> None:
    """Write every table whose rows are there."""
    for name, own in rows.groupby("experiment"):
        place = {"fashion-stickers": "fashion-stickers", "CelebA": "celeba", "ISIC with stickers": "isic"}.get(
            str(name)
        )
        if place is not None:
            text = f"{seeds_table(own)}\n\n{describe_choice(own)}"
            insert(ROOT / "docs" / "results.md", place, text)
            if place == "fashion-stickers":
                insert(ROOT / "README.md", place, text)
    others = rows[rows.experiment.isin((NO_SHORTCUT, ONLY_SHORTCUT))]
    if len(others):
        insert(ROOT / "docs" / "results.md", "verdicts", verdicts_table(others))


def describe_choice(rows: pd.DataFrame) -> str:
    """Say what was chosen, what the choice cost, and how far the chosen network is from the controls."""
    by_network = {name: own.sort_values("seed") for name, own in rows.groupby("network")}
    after = by_network["subnetwork"]
    chosen = "; ".join(f"{row.chosen} ({row.density:.2f} kept)" for row in after.itertuples())
    lines = [f"Chosen, seed by seed: {chosen}. Verdicts: {', '.join(after.verdict)}."]
    for control in ("last_layer", "finetune_all"):
        differences = after.worst_group_accuracy.to_numpy() - by_network[control].worst_group_accuracy.to_numpy()
        points = ", ".join(f"{100 * value:+.1f}" for value in differences)
        title = FAMILY_TITLES[control].removeprefix("control: ")
        lines.append(
            f"Worst group of the chosen network minus that of the control ({title}), in points: mean "
            f"{100 * differences.mean():+.1f} ({points})."
        )
    lines.append(
        f"Regret of the choice (best candidate's worst group on the test split minus the chosen one's): mean "
        f"{after.regret.mean():.3f} ({', '.join(f'{value:.3f}' for value in after.regret)})."
    )
    return "\n".join(f"- {line}" for line in lines)


def verdicts_table(rows: pd.DataFrame) -> str:
    """Return what was said and handed back where there is nothing to gain."""
    lines = []
    for (name, seed), own in rows.groupby(["experiment", "seed"]):
        figures = own.set_index("network")
        cells = [
            f"{percent(figures.average_accuracy[family])} / {percent(figures.worst_group_accuracy[family])}"
            for family in FAMILY_TITLES
        ]
        lines.append([str(name), str(seed), *cells, figures.verdict.iloc[0], figures.chosen["subnetwork"]])
    return table(["data", "seed", *FAMILY_TITLES.values(), "verdict", "handed back"], lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("which", nargs="*", default=["fashion-stickers"], help="fashion-stickers, celeba, isic")
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "results")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tables-only", action="store_true")
    options = parser.parse_args(arguments)
    known = make_experiments()
    rows = pd.read_csv(RESULTS) if RESULTS.is_file() else pd.DataFrame(columns=["experiment"])
    for which in () if options.tables_only else options.which:
        if which not in known or not known[which]:
            parser.error(f"no experiments {which!r}: choose among {', '.join(known)}; celeba and isic need PRUSC_DATA")
        run_all(known[which], options.out, options.workers)
        new = read_rows(known[which], options.out)
        kept = rows[~rows.experiment.isin(new.experiment.unique())]
        rows = pd.concat([kept, new]) if len(kept) else new
        RESULTS.parent.mkdir(exist_ok=True)
        rows.to_csv(RESULTS, index=False, float_format="%.6g")
    write_tables(rows)


if __name__ == "__main__":
    main()
