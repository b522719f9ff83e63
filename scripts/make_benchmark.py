"""Write docs/results/benchmark.md from docs/data/benchmark.csv, after adding the rows of finished benchmarks to it.

    prusc bench --suite small --out runs/bench/small
    python scripts/make_benchmark.py runs/bench/small [runs/bench/real ...]   # add the rows, and write the page
    python scripts/make_benchmark.py                                          # the page alone

Rows of the same data, network and rule are replaced by those of the folder; the others stay.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from prusc.benchmark import (
    adjust_by_holm,
    average_over_panels,
    markdown_tables,
    paired_interval,
    paired_p_value,
    summarise_rows,
)
from prusc.benchmark.output import FLOAT_FORMAT, ROWS
from prusc.benchmark.summary import add_measure
from prusc.benchmark.tables import markdown_table
from prusc.runs.folder import write_file

ROOT = Path(__file__).resolve().parents[1]
CSV = Path("docs", "data", "benchmark.csv")
PAGE = Path("docs", "results", "benchmark.md")
_KEY = ["data", "network", "rule"]
_INTRODUCTION = """# Benchmark: all remedies on equal terms

`scripts/make_benchmark.py` writes this page from [data/benchmark.csv](../data/benchmark.csv), one row for each run.
Do not edit it. [Compare remedies](../how-to/compare-remedies.md) says how to repeat the runs, and
[benchmark data](../reference/benchmark-data.md) what the data are.

All remedies on a data set start from the same ERM network of the same seed, or from its initial weights. Each one tries
the same compute and number of settings at most, and the same rule chooses among them. *Group labels* says which ones a
remedy is given.
Remedies that are given some stand below the others: they show what is possible, and are no rivals.
"""
_BEFORE = """
**Figures of an earlier version.** Runs that do not name their version are of 25 November 2026. Then each remedy tried
two settings of smaller grids, PruSC some twenty candidates, and the worst group was compared in every table.
"""


def take_in(old: pd.DataFrame, new: pd.DataFrame) -> pd.DataFrame:
    """Return the old rows, with those of the same data set, network and rule replaced by the new ones."""
    if old.empty:
        return new
    keys = set(map(tuple, new[_KEY].itertuples(index=False)))
    kept = old[[tuple(row) not in keys for row in old[_KEY].itertuples(index=False)]]
    return pd.concat([kept, new], ignore_index=True) if len(kept) else new


def make_page(rows: pd.DataFrame) -> str:
    """Return the text of docs/results/benchmark.md; means over data sets are taken for each network."""
    versions = rows.get("version")
    parts = [_INTRODUCTION + (_BEFORE if versions is None or versions.isna().any() else "")]
    for network, own in rows.groupby("network", sort=False):
        panels = (*average_over_panels(own), *summarise_rows(own))
        parts.append(f"## {network}\n\n{markdown_tables(panels, level=3)}")
        if "prusc" in set(own.method):
            parts.append(f"### PruSC against the others, {network}\n\n{make_comparison(own)}\n")
    return "\n".join(parts)


def make_comparison(rows: pd.DataFrame) -> str:
    """Return a table of PruSC's measure minus that of each other method, seed by seed.

    Args:
        rows: Rows of one network. Only seeds that both methods have finished on every data set count.
    """
    measured = add_measure(rows).pivot_table("measure_accuracy", "seed", ["method", "data"])
    lines = []
    for title, method in rows.drop_duplicates("method").set_index("title").method.items():
        if method == "prusc":
            continue
        differences = 100 * (measured["prusc"] - measured[method]).dropna().mean(axis=1)
        interval = paired_interval(differences.tolist())
        limits = "" if interval is None else f"{interval[0]:+.1f} to {interval[1]:+.1f}"
        each = ", ".join(f"{value:+.1f} ({seed})" for seed, value in differences.items())
        p_value = paired_p_value(differences.tolist())
        lines.append((differences.mean(), p_value, [str(title), f"{differences.mean():+.1f}", limits, each]))
    lines.sort(key=lambda line: line[0])
    for (_, _, cells), p_holm in zip(lines, adjust_by_holm([p for _, p, _ in lines]), strict=True):
        cells.insert(3, "" if p_holm is None else f"{p_holm:.3f}")
    heads = ["PruSC minus", "mean", "95 % interval", "p (Holm)", "each seed"]
    table = markdown_table(heads, [cells for _, _, cells in lines])
    return f"In points of the measure that the tables compare by, mean over the data sets.\n\n{table}"


def main(arguments: Sequence[str] | None = None, root: Path = ROOT) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folders", nargs="*", type=Path, help="folders of prusc bench")
    options = parser.parse_args(arguments)
    rows = pd.read_csv(root / CSV) if (root / CSV).is_file() else pd.DataFrame()
    for folder in options.folders:
        if not (folder / ROWS).is_file():
            parser.error(f"{folder} holds no {ROWS}; name the --out of a prusc bench")
        rows = take_in(rows, pd.read_csv(folder / ROWS))
    if rows.empty:
        parser.error(f"there is no {CSV} yet; name a folder of prusc bench")
    write_file(root / CSV, rows.to_csv(index=False, float_format=FLOAT_FORMAT).encode())
    write_file(root / PAGE, make_page(rows).encode())
    print(f"{PAGE}: {len(rows)} runs")


if __name__ == "__main__":
    main()
