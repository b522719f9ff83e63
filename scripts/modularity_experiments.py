"""Run the experiments on functional modularity, one command each, and write docs/results/modularity.md's tables.

    python scripts/modularity_experiments.py --list              # names, networks, seeds and settings
    python scripts/modularity_experiments.py add-mul-fnn         # one experiment, scaled down to a few minutes
    python scripts/modularity_experiments.py add-mul-fnn --published  # as published: hours, better on a GPU
    python scripts/modularity_experiments.py removal-mnist --source DIR  # images from DIR
    python scripts/modularity_experiments.py shortcut-isic --source DIR --device cuda  # finished runs in DIR
    python scripts/modularity_experiments.py --tables-only       # the tables alone, from docs/data/modularity.csv

Finished seeds are kept in the table, and run again with --force.
"""

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from experiments import ROOT
from function_experiments.catalogue import EXPERIMENTS
from function_experiments.claims import write_pages
from function_experiments.experiments import Scale
from function_experiments.measuring import Place

from prusc.errors import PruscError

RESULTS = ROOT / "docs" / "data" / "modularity.csv"
SETTINGS = ROOT / "docs" / "data" / "modularity-settings.json"


def run_one(name: str, scale: Scale, seed: int, place: Place, *, force: bool) -> None:
    """Run one seed of one experiment, and add its figures to the table."""
    experiment = EXPERIMENTS[name]
    before = pd.read_csv(RESULTS) if RESULTS.is_file() else pd.DataFrame()
    if len(before):
        own = (before.experiment == name) & (before.scale == scale) & (before.seed == seed)
        if bool(own.any()) and not force:
            print(f"{name}, {scale}, seed {seed}: finished before", flush=True)
            return
        before = before[~own]
    begin, cpu = time.perf_counter(), time.process_time()
    figures = experiment.run(experiment.settings[scale], seed, place)
    rows = pd.DataFrame([{"experiment": name, "scale": scale, "seed": seed, **asdict(figure)} for figure in figures])
    rows["cpu_seconds"] = round(time.process_time() - cpu)
    # Another experiment may have written meanwhile.
    if RESULTS.is_file():
        before = pd.read_csv(RESULTS)
        before = before[(before.experiment != name) | (before.scale != scale) | (before.seed != seed)]
    RESULTS.parent.mkdir(exist_ok=True)
    table = pd.concat([before, rows]).sort_values(["experiment", "scale", "seed"], kind="stable")
    table.to_csv(RESULTS, index=False, float_format="%.5g")
    known = json.loads(SETTINGS.read_text("utf-8")) if SETTINGS.is_file() else {}
    known.setdefault(name, {})[scale] = asdict(experiment.settings[scale])
    SETTINGS.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")
    print(f"{name}, {scale}, seed {seed}: {time.perf_counter() - begin:.0f} s", flush=True)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("names", nargs="*", help="experiments; all of the scaled ones if none is named")
    parser.add_argument("--published", action="store_true", help="the published settings")
    parser.add_argument("--seeds", type=int, nargs="+", help="instead of the seeds of the page")
    parser.add_argument(
        "--source",
        type=Path,
        help="folder of the images, by default mnist, fashion-mnist or cifar10 in PRUSC_DATA; or of finished runs",
    )
    parser.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto", help="auto takes a GPU if any")
    parser.add_argument("--force", action="store_true", help="run finished seeds again")
    parser.add_argument("--tables-only", action="store_true")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    if options.list:
        for name, experiment in EXPERIMENTS.items():
            seeds = f"seeds {', '.join(map(str, experiment.seeds))}" if experiment.seeds else "not run"
            print(f"{name:28} {experiment.title}; {experiment.network}; {seeds}")
        return
    unknown = [name for name in options.names if name not in EXPERIMENTS]
    if unknown:
        parser.error(f"no experiment {unknown[0]!r}: choose among {', '.join(EXPERIMENTS)}")
    scale: Scale = "published" if options.published else "scaled"
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        parser.error("--device cuda: this machine has no GPU that PyTorch can use; choose cpu or auto")
    place = Place(options.source, torch.device(device))
    for name in () if options.tables_only else options.names or EXPERIMENTS:
        if name in options.names and not (options.seeds or EXPERIMENTS[name].seeds):
            parser.error(f"{name} has no seeds on the page; name some with --seeds")
        for seed in options.seeds or EXPERIMENTS[name].seeds:
            try:
                run_one(name, scale, seed, place, force=options.force)
            except PruscError as error:
                parser.exit(2, f"{name}, seed {seed}: {error}\n")
    write_pages(pd.read_csv(RESULTS), json.loads(SETTINGS.read_text("utf-8")))


if __name__ == "__main__":
    main()
