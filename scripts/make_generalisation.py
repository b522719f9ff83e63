"""Try the shipped settings on every development task, and fix the constants of the choice without each family.

    python scripts/make_generalisation.py --small              # four tasks on small images, seed 0; about 15 minutes
    PRUSC_DATA=DIR python scripts/make_generalisation.py       # all tasks, seeds 0 to 4
    python scripts/make_generalisation.py --tables-only        # the tables alone, from docs/data/generalisation.csv

DIR holds ``mnist``, ``celeba30k``, ``isic`` and ``weights``. Nothing is set but the data, the network, its ERM training
and the seed. Finished runs stay in ``runs/generalisation`` and are not run again.

Leave one family out: the choice has one constant that can be changed after a run, the share of the worst pseudo-group
in the score. For each family of tasks, it is set to the value with the best worst groups on the test splits of all
other families; the table has what this value gives on the family itself.
"""

import argparse
import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from experiments import ROOT, Experiment, insert, percent, regret, run_all, table

from prusc.config import DataConfig, ERMConfig, RunConfig, RuntimeConfig, StickerConfig
from prusc.runs.artifacts import evaluation_from_dict

FIGURES = ROOT / "docs" / "data" / "generalisation.csv"
PAGE = ROOT / "docs" / "results" / "generalisation.md"
SUMMARY_PAGES = (ROOT / "README.md", ROOT / "docs" / "index.md")
SUMMARY = {
    "stickers 0.95": "stickers on garments (Fashion-MNIST)",
    "SpuCo digits": "coloured patches behind digits (SpuCo on MNIST)",
    "faces Blond_Hair": "hair colour of faces (CelebA, 30,000 images)",
    "moles with stickers": "stickers on moles (ISIC)",
    "moles with stickers that say nothing": "moles without a shortcut (ISIC)",
}
SMALL = ("stickers 0.95", "stickers 0.25", "coloured digits 5 %", "SpuCo digits")
WORST_SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
SHIPPED_SHARE = 0.5


def make_tasks(folder: Path) -> dict[str, tuple[str, RunConfig]]:
    """Return family and settings of each task by its name.

    Args:
        folder: Folder of the images that the package does not hold.
    """
    digits = RunConfig(erm=ERMConfig(epochs=10))
    source = DataConfig(source=folder / "mnist", num_train=12_000)
    photographs = RunConfig(
        model="torchvision/mobilenet_v2",
        weights=folder / "weights" / "mobilenet_v2-b0353104.pth",
        erm=ERMConfig(epochs=4, batch_size=64, learning_rate=1e-3, flip=True),
        runtime=RuntimeConfig(channels_last=True),
    )
    tasks = {
        f"stickers {correlation}": ("stickers", RunConfig(data_options=DataConfig(correlation=correlation)))
        for correlation in (0.95, 0.995, 0.25)
    }
    for title, share in (("5 %", 0.05), ("0.5 %", 0.005)):
        options = replace(source, conflict_share=share)
        config = replace(digits, data="colored-mnist", data_options=options)
        tasks[f"coloured digits {title}"] = ("coloured digits", config)
    spuco = replace(digits, data="spuco-mnist", data_options=replace(source, strength=0.95))
    tasks["SpuCo digits"] = ("SpuCo digits", spuco)
    for target in ("Blond_Hair", "Wavy_Hair", "Gray_Hair", "Eyeglasses", "Bangs", "Wearing_Earrings"):
        options = DataConfig(image_size=96, target=target, attributes=("Male",))
        tasks[f"faces {target}"] = ("faces", replace(photographs, data=str(folder / "celeba30k"), data_options=options))
    for title, shares in (("stickers", (0.5, 0.03)), ("stickers that say nothing", (0.3, 0.3))):
        options = DataConfig(image_size=96, keep_together="lesion_id", stickers=StickerConfig(train_shares=shares))
        tasks[f"moles with {title}"] = ("moles", replace(photographs, data=str(folder / "isic"), data_options=options))
    return tasks


def read_run(folder: Path) -> list[dict[str, object]]:
    """Return one row of a finished run for each share of the worst pseudo-group in the score."""
    metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
    candidates = pd.read_csv(folder / "candidates.csv").set_index("name")
    of_network = {name: evaluation_from_dict(splits["test"]) for name, splits in metrics["results"].items()}
    before, after = of_network["erm"], of_network["subnetwork"]
    seconds = metrics["seconds"]
    rows = []
    for share in WORST_SHARES:
        scores = (1 - share) * candidates.mean_accuracy + share * candidates.worst_accuracy
        best = scores.drop("dense").idxmax()
        rows.append(
            {
                "seed": metrics["seed"],
                "worst_share": share,
                "chosen": best,
                "test_worst_group": candidates.test_worst_group_accuracy[best],
                "test_average": candidates.test_average_accuracy[best],
                "verdict": metrics["verdict"],
                "p_value": metrics["p_value"],
                "source": metrics["evidence"][0]["source"],
                "gap": metrics["evidence"][0]["gap"],
                "handed_back": metrics["chosen"]["subnetwork"],
                "erm_worst_group": before.worst_group_accuracy,
                "erm_average": before.average_accuracy,
                "worst_group": after.worst_group_accuracy,
                "average": after.average_accuracy,
                "num_worst": after.worst_group.num_samples,
                "regret": regret(candidates, metrics["chosen"]["subnetwork"]),
                "best_head": candidates[candidates.family == "last_layer"].test_worst_group_accuracy.max(),
                "seconds_erm": seconds["erm"],
                "seconds_after": sum(seconds.values()) - seconds["erm"],
            }
        )
    return rows


def collect(experiments: Sequence[Experiment], families: dict[str, str], out: Path) -> pd.DataFrame:
    """Return the rows of all finished runs."""
    rows = []
    for experiment in experiments:
        folder = experiment.folder(out)
        if (folder / "metrics.json").is_file():
            start = {"family": families[experiment.name], "task": experiment.name}
            rows += [start | row for row in read_run(folder)]
    return pd.DataFrame(rows)


def results_table(rows: pd.DataFrame) -> str:
    """Return one line for each task: what is handed back with the shipped settings, as means over the seeds."""
    lines = []
    for task, own in rows[rows.worst_share == SHIPPED_SHARE].groupby("task", sort=False):
        ratio = (own.seconds_after / own.seconds_erm).mean()
        deviation = f" ({percent(own.worst_group.std())})" if len(own) > 1 else ""
        lines.append(
            [
                str(task),
                ", ".join(map(str, sorted(own.seed))),
                f"{percent(own.erm_average.mean())} / {percent(own.erm_worst_group.mean())}",
                f"{percent(own.average.mean())} / {percent(own.worst_group.mean())}{deviation}",
                percent(own.best_head.mean()),
                f"{own.regret.mean():.3f}",
                ", ".join(f"{name} {count}" for name, count in own.verdict.value_counts().items()),
                f"{ratio:.1f}",
            ]
        )
    header = ["task", "seeds", "ERM", "handed back (sd)", "best head", "regret", "verdicts", "after ERM / ERM"]
    return table(header, lines)


def left_out_table(rows: pd.DataFrame) -> str:
    """Return one line for each family: the share of the worst group that the other families set, and what it gives."""
    means = rows.groupby(["family", "task", "worst_share"], sort=False).test_worst_group.mean().reset_index()
    lines = []
    for family, own in means.groupby("family", sort=False):
        others = means[means.family != family].groupby(["family", "worst_share"]).test_worst_group.mean()
        by_share = others.groupby("worst_share").mean()
        if by_share.empty:
            continue
        # Of equal ones the nearest to the shipped one.
        share = min(by_share.index, key=lambda s: (-round(by_share[s], 6), abs(s - SHIPPED_SHARE)))
        figures = own.groupby("worst_share").test_worst_group.mean()
        lines.append([str(family), f"{share:g}", percent(figures[share]), percent(figures[SHIPPED_SHARE])])
    header = ["family", "share set without it", "worst group with that share", f"with {SHIPPED_SHARE:g} (shipped)"]
    return table(header, lines)


def summary_table(rows: pd.DataFrame) -> str:
    """Return the short table: average and worst group before and after, mean over the seeds of a task."""
    lines = []
    for task, title in SUMMARY.items():
        own = rows[(rows.task == task) & (rows.worst_share == SHIPPED_SHARE)]
        if own.empty:
            continue
        deviations = [f" ({percent(own[name].std())})" for name in ("erm_worst_group", "worst_group")]
        lines.append(
            [
                title,
                str(own.seed.nunique()),
                f"{percent(own.erm_average.mean())} / {percent(own.erm_worst_group.mean())}{deviations[0]}",
                f"{percent(own.average.mean())} / {percent(own.worst_group.mean())}{deviations[1]}",
                ", ".join(f"{name} {count}" for name, count in own.verdict.value_counts().items()),
            ]
        )
    return table(["data", "seeds", "before (ERM)", "handed back", "verdicts"], lines)


def write_tables(rows: pd.DataFrame) -> None:
    """Write the tables of the page, and the short one of README and index."""
    insert(PAGE, "results", results_table(rows))
    insert(PAGE, "left-out", left_out_table(rows))
    for page in SUMMARY_PAGES:
        insert(page, "results", summary_table(rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tasks", nargs="*", help="names of tasks; all by default")
    parser.add_argument("--seeds", nargs="*", type=int, default=list(range(5)))
    parser.add_argument("--small", action="store_true", help="four tasks on small images, seed 0")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "generalisation")
    parser.add_argument("--figures", type=Path, default=FIGURES, help="CSV file of the figures")
    parser.add_argument("--collect-only", action="store_true", help="run nothing")
    parser.add_argument("--tables-only", action="store_true", help="run and read nothing but the CSV file")
    arguments = parser.parse_args()
    if not arguments.tables_only:
        tasks = make_tasks(Path(os.environ.get("PRUSC_DATA", "data")))
        names = list(SMALL) if arguments.small else arguments.tasks or list(tasks)
        seeds = [0] if arguments.small else arguments.seeds
        unknown = sorted(set(names) - set(tasks))
        if unknown:
            raise SystemExit(f"unknown tasks {unknown}; known are {list(tasks)}")
        experiments = [
            Experiment(name, replace(tasks[name][1], seed=seed, evaluate_candidates=True))
            for seed in seeds
            for name in names
        ]
        if not arguments.collect_only:
            run_all(experiments, arguments.out, arguments.workers)
        rows = collect(experiments, {name: family for name, (family, _) in tasks.items()}, arguments.out)
        if arguments.small:
            print(results_table(rows))
            return
        rows.to_csv(arguments.figures, index=False)
    if arguments.figures == FIGURES:
        write_tables(pd.read_csv(FIGURES))


if __name__ == "__main__":
    main()
