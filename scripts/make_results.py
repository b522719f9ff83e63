"""Run the experiments of docs/results again, and write their tables.

    python scripts/make_results.py                             # fashion-stickers, seeds 0 to 4
    python scripts/make_results.py trained-elsewhere           # after that, with its networks of seeds 0 to 2
    python scripts/make_results.py random-crops                # seeds 0 to 2, with random crops after the ERM training
    PRUSC_DATA=DIR python scripts/make_results.py celeba       # CelebA, ten seeds from 70 on
    PRUSC_DATA=DIR python scripts/make_results.py celeba-male  # CelebA, two attributes, seeds 0 to 2
    PRUSC_DATA=DIR python scripts/make_results.py isic         # ISIC with stickers, seeds 60 to 62
    python scripts/make_results.py --tables-only               # the tables alone, from docs/data/results.csv

DIR holds ``celeba``, ``isic`` and ``weights``. Nothing is set but the data, the network, its ERM training and the seed.
Finished runs stay in ``runs/results`` and are not run again. Every candidate is evaluated on the test split too, to
measure the regret of the choice; the choice itself never reads these figures.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
from experiments import (
    PHOTOGRAPHS,
    ROOT,
    Experiment,
    insert,
    percent,
    read_rows,
    run_all,
    seeds_table,
    table,
)

from prusc.config import ClusteringConfig, DataConfig, DebiasingSetConfig, RunConfig, StickerConfig
from prusc.runs.result import FAMILY_TITLES

RESULTS = ROOT / "docs" / "data" / "results.csv"
NO_SHORTCUT, ONLY_SHORTCUT = "fashion-stickers, correlation 0.25", "fashion-stickers, correlation 0.995"
TWO_ATTRIBUTES = "CelebA, Male with two attributes"
ELSEWHERE, ELSEWHERE_AS_IT_IS = "fashion-stickers, trained elsewhere", "fashion-stickers, trained elsewhere, as it is"
CROPS = "fashion-stickers, random crops"
STICKERS_PAGE = ROOT / "docs" / "results" / "fashion-stickers.md"
IMAGES_PAGE = ROOT / "docs" / "results" / "real-images.md"
# One place for each experiment: the page, and what its table is called there.
PLACES = {
    "fashion-stickers": (STICKERS_PAGE, "fashion-stickers"),
    ELSEWHERE: (STICKERS_PAGE, "trained-elsewhere"),
    ELSEWHERE_AS_IT_IS: (STICKERS_PAGE, "trained-elsewhere-as-it-is"),
    CROPS: (STICKERS_PAGE, "random-crops"),
    "CelebA": (IMAGES_PAGE, "celeba"),
    TWO_ATTRIBUTES: (IMAGES_PAGE, "celeba-male"),
    "ISIC with stickers": (IMAGES_PAGE, "isic"),
}


def make_experiments(out: Path) -> dict[str, list[Experiment]]:
    """Return the experiments by their names on the command line; ``out`` holds the networks of the first."""
    base = RunConfig(evaluate_candidates=True)
    fashion = [Experiment("fashion-stickers", replace(base, seed=seed)) for seed in range(5)]
    for name, correlation in ((NO_SHORTCUT, 0.25), (ONLY_SHORTCUT, 0.995)):
        options = DataConfig(correlation=correlation)
        fashion += [Experiment(name, replace(base, seed=seed, data_options=options)) for seed in range(3)]
    elsewhere = []
    for seed in range(3):
        # With another seed, because the initial weights of a given network are unknown.
        trained = fashion[seed].folder(out) / "erm.safetensors"
        given = replace(base, seed=30 + seed, trained=trained, data_options=DataConfig(data_seed=seed))
        elsewhere += [
            Experiment(ELSEWHERE, given),
            Experiment(ELSEWHERE_AS_IT_IS, replace(given, clustering=ClusteringConfig(checkpoint=None))),
        ]
    # Crops remove the sticker. So they help every control that is trained on them, too.
    cropped = replace(base, debiasing_set=DebiasingSetConfig(min_crop_scale=0.8))
    return {
        "fashion-stickers": fashion,
        "trained-elsewhere": elsewhere,
        "random-crops": [Experiment(CROPS, replace(cropped, seed=seed)) for seed in range(3)],
        "celeba": [Experiment("CelebA", config) for config in celeba_configs()],
        "celeba-male": [Experiment(TWO_ATTRIBUTES, config) for config in celeba_two_attributes()],
        "isic": [Experiment("ISIC with stickers", config) for config in isic_configs()],
    }


def celeba_configs() -> list[RunConfig]:
    """Return the settings for real faces."""
    # The test figures of seeds 0 to 12, 20 to 22, 50 to 52, 60 to 62, 75 and 76 were seen while settings and rule of
    # the choice were being set.
    return on_real_images("celeba", DataConfig(image_size=96), (*range(70, 75), *range(80, 85)))


def celeba_two_attributes() -> list[RunConfig]:
    """Return the settings for the same faces, where two attributes make the groups together."""
    options = DataConfig(image_size=96, target="Male", attributes=("Blond_Hair", "Young"))
    return on_real_images("celeba", options, (0, 1, 2))


def isic_configs() -> list[RunConfig]:
    """Return the settings for moles with a sticker on half of the benign and few of the malignant ones."""
    # The test figures of seeds 0 to 4 and 50 to 52 were seen while settings and rule were being set.
    stickers = StickerConfig(train_shares=(0.5, 0.03))
    return on_real_images("isic", DataConfig(image_size=96, keep_together="lesion_id", stickers=stickers), (60, 61, 62))


def on_real_images(folder_name: str, options: DataConfig, seeds: Sequence[int]) -> list[RunConfig]:
    """Return the settings with each seed, on data and weights of the folder ``PRUSC_DATA``; nothing if it is unset."""
    folder = os.environ.get("PRUSC_DATA")
    if folder is None:
        return []
    config = replace(
        PHOTOGRAPHS,
        data=str(Path(folder) / folder_name),
        data_options=options,
        weights=Path(folder) / "weights" / "mobilenet_v2-b0353104.pth",
        pretrained=False,
        evaluate_candidates=True,
    )
    return [replace(config, seed=seed) for seed in seeds]


def write_tables(rows: pd.DataFrame) -> None:
    """Write every table whose rows are there."""
    for name, own in rows.groupby("experiment"):
        place = PLACES.get(str(name))
        if place is not None:
            tables = [seeds_table(own), *attribute_tables(own), describe_choice(own)]
            insert(*place, "\n\n".join(tables))
    others = rows[rows.experiment.isin((NO_SHORTCUT, ONLY_SHORTCUT))]
    if len(others):
        insert(STICKERS_PAGE, "verdicts", verdicts_table(others))


def attribute_tables(rows: pd.DataFrame) -> list[str]:
    """Return a table of each attribute's own worst group, where several attributes make the groups together."""
    columns = [str(column) for column in rows if str(column).startswith("worst_group_accuracy/")]
    names = [column.partition("/")[2] for column in columns if rows[column].notna().all()]
    return [f"Groups of the class and {name} alone:\n\n{seeds_table(rows, name)}" for name in names]


def describe_choice(rows: pd.DataFrame) -> str:
    """Describe the chosen networks, their distance from the controls, and the regret of the choice."""
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
    """Return the verdicts and chosen networks of data without anything to gain."""
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
    parser.add_argument(
        "which",
        nargs="*",
        default=["fashion-stickers"],
        help="fashion-stickers, trained-elsewhere, random-crops, celeba, celeba-male, isic",
    )
    parser.add_argument("--out", type=Path, default=ROOT / "runs" / "results")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--tables-only", action="store_true")
    options = parser.parse_args(arguments)
    known = make_experiments(options.out)
    rows = pd.read_csv(RESULTS) if RESULTS.is_file() else pd.DataFrame(columns=["experiment"])
    for which in () if options.tables_only else options.which:
        if which not in known or not known[which]:
            parser.error(f"no experiments {which!r}: choose among {', '.join(known)}; real images need PRUSC_DATA")
        run_all(known[which], options.out, options.workers)
        new = read_rows(known[which], options.out)
        kept = rows[~rows.experiment.isin(new.experiment.unique())]
        rows = pd.concat([kept, new]) if len(kept) else new
        RESULTS.parent.mkdir(exist_ok=True)
        rows.to_csv(RESULTS, index=False, float_format="%.6g")
    write_tables(rows)


if __name__ == "__main__":
    main()
