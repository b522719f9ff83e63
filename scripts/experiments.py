"""Run many settings of prusc, each in a run folder of its own, and turn the folders into rows and tables."""

import json
import os
import re
import statistics
import subprocess
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from prusc.config import ERMConfig, RunConfig, RuntimeConfig, config_to_dict
from prusc.runs.artifacts import evaluation_from_dict
from prusc.runs.result import FAMILY_TITLES
from prusc.stages.evaluation import GroupEvaluation

ROOT = Path(__file__).resolve().parents[1]

# A small ImageNet network and its training, for experiments on photographs of 96 px.
PHOTOGRAPHS = RunConfig(
    model="torchvision/mobilenet_v2",
    pretrained=True,
    erm=ERMConfig(epochs=4, batch_size=64, learning_rate=1e-3, flip=True),
    # On a CPU this layout halves the time of this network's steps.
    runtime=RuntimeConfig(channels_last=True),
)


@dataclass(frozen=True)
class Experiment:
    """One setting with one seed.

    Attributes:
        name: Name of the rows.
        config: Every setting, including the seed.
    """

    name: str
    config: RunConfig

    def folder(self, out: Path) -> Path:
        """Return the run folder."""
        return out / re.sub(r"[^\w.]+", "-", self.name).strip("-") / f"seed-{self.config.seed}"


def run_all(experiments: Sequence[Experiment], out: Path, workers: int) -> None:
    """Run the experiments that are not finished, several at a time; a failed run stops the others.

    Args:
        experiments: Experiments to run.
        out: Parent of the run folders. An unfinished run is resumed.
        workers: Number of runs at a time; they share the cores.
    """
    threads = str(max(1, (os.cpu_count() or 1) // workers))
    todo = [e for e in experiments if not (e.folder(out) / "metrics.json").is_file()]
    print(f"{len(experiments)} runs, {len(experiments) - len(todo)} finished before", flush=True)

    def run(experiment: Experiment) -> None:
        folder = experiment.folder(out)
        folder.parent.mkdir(parents=True, exist_ok=True)
        settings = folder.with_suffix(".toml")
        settings.write_text(tomli_w.dumps(config_to_dict(experiment.config)), "utf-8")
        command = [sys.executable, "-m", "prusc", "run", "--config", str(settings), "--out", str(folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": threads}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{folder}: exit code {done.returncode}\n{done.stderr[-3000:]}")
        print(f"finished {experiment.name}, seed {experiment.config.seed}", flush=True)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(run, todo))


def read_rows(experiments: Iterable[Experiment], out: Path) -> pd.DataFrame:
    """Return one row per run and network: the chosen candidate and its figures on the test split.

    Args:
        experiments: Experiments to read. Unfinished ones are left out, and their names are printed.
        out: Parent of the run folders.
    """
    rows: list[dict[str, Any]] = []
    for experiment in experiments:
        folder = experiment.folder(out)
        if not (folder / "metrics.json").is_file():
            print(f"not run: {experiment.name}, seed {experiment.config.seed}")
            continue
        metrics = json.loads((folder / "metrics.json").read_text("utf-8"))
        candidates = pd.read_csv(folder / "candidates.csv").set_index("name")
        for family, splits in metrics["results"].items():
            test = evaluation_from_dict(splits["test"])
            chosen = metrics["chosen"][family]
            rows.append(
                {
                    "experiment": experiment.name,
                    "seed": experiment.config.seed,
                    "network": family,
                    "chosen": chosen,
                    "density": candidates.density[chosen],
                    "flops": metrics.get("flops"),
                    "score": candidates.score[chosen],
                    "average_accuracy": test.average_accuracy,
                    "worst_group_accuracy": test.worst_group_accuracy,
                    "ci95_low": test.worst_group_ci95[0],
                    "ci95_high": test.worst_group_ci95[1],
                    "num_samples_worst_group": test.worst_group.num_samples,
                    "regret": regret(candidates, chosen) if family == "subnetwork" else None,
                    "num_clusters": metrics["num_clusters"],
                    "verdict": metrics["verdict"],
                    "seconds": round(sum(metrics["seconds"].values())),
                    **attribute_columns(test),
                }
            )
    return pd.DataFrame(rows)


def attribute_columns(test: GroupEvaluation) -> dict[str, float]:
    """Return the worst group of each attribute alone with its interval, if there are several attributes."""
    columns = {}
    for attribute in test.attributes if len(test.attributes) > 1 else ():
        columns[f"worst_group_accuracy/{attribute.name}"] = attribute.worst_group_accuracy
        for bound, value in zip(("low", "high"), attribute.worst_group_ci95, strict=True):
            columns[f"ci95_{bound}/{attribute.name}"] = value
    return columns


def regret(candidates: pd.DataFrame, chosen: str) -> float:
    """Return the worst-group accuracy of the best candidate minus that of the chosen one, on the test split.

    Args:
        candidates: ``candidates.csv`` of a run that evaluated its candidates, by name.
        chosen: Name of the chosen candidate.
    """
    accuracies = candidates.test_worst_group_accuracy
    return float(accuracies.max() - accuracies[chosen])


def percent(value: float) -> str:
    """Return a share as a percentage."""
    return f"{100 * value:.1f}"


def mean_and_deviation(values: Sequence[float]) -> str:
    """Return mean and standard deviation (ddof 1) in percent."""
    return f"{percent(statistics.mean(values))} ({percent(statistics.stdev(values))})"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def seeds_table(rows: pd.DataFrame, attribute: str | None = None) -> str:
    """Return the table of one experiment: each network's average and worst group, over seeds and for each one.

    Args:
        rows: Rows of one experiment, from `read_rows`.
        attribute: Attribute that defines the groups; all attributes together if ``None``.
    """
    suffix = "" if attribute is None else f"/{attribute}"
    worst, low, high = (f"{name}{suffix}" for name in ("worst_group_accuracy", "ci95_low", "ci95_high"))
    seeds = sorted(rows.seed.unique())
    lines = []
    for family, title in FAMILY_TITLES.items():
        own = rows[rows.network == family].sort_values("seed")
        each = [
            f"{percent(value)} [{percent(lowest)}, {percent(highest)}]"
            for value, lowest, highest in zip(own[worst], own[low], own[high], strict=True)
        ]
        figures = [mean_and_deviation(own.average_accuracy), mean_and_deviation(own[worst])]
        lines.append([title, *figures, *each])
    header = ["network", "average, mean (sd)", "worst group, mean (sd)", *(f"seed {seed}" for seed in seeds)]
    return table(header, lines)


def insert(path: Path, name: str, text: str) -> None:
    """Replace the text of a Markdown file between ``<!-- name -->`` and ``<!-- end of name -->``.

    Args:
        path: The file.
        name: Name of the place.
        text: New text.
    """
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    old = path.read_text("utf-8")
    if begin not in old or end not in old:
        raise SystemExit(f"{path} has no place {begin} ... {end}")
    pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    path.write_text(pattern.sub(lambda _: f"{begin}\n{text}\n{end}", old), "utf-8")
