"""Summary of rows: means over seeds, differences to ERM paired by seed, and cost."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd
from scipy.stats import t

from prusc.benchmark.matrix import REFERENCE

# Tables list the methods that use the fewest group labels first.
_ORDER = {"none": 0, "validation": 1, "training": 2}

# Stands for data and network in rows that are means over all of them.
EVERYWHERE = "(all)"


@dataclass(frozen=True)
class Spread:
    """Mean and deviation over seeds.

    Attributes:
        mean: Mean over seeds.
        deviation: Standard deviation with ddof 1; ``None`` for one seed.
    """

    mean: float
    deviation: float | None


@dataclass(frozen=True)
class Difference:
    """Worst-group accuracy minus that of ERM, paired by seed.

    Attributes:
        mean: Mean over the seeds that both methods have.
        interval: Its 95 % interval by Student's t; ``None`` for one seed.
        num_seeds: Number of seeds that both methods have.
    """

    mean: float
    interval: tuple[float, float] | None
    num_seeds: int


@dataclass(frozen=True)
class MethodSummary:
    """A method on one data set with one network.

    Attributes:
        method: Name of the method.
        title: Title of the method in tables.
        needs: Group labels that it needs: ``none``, ``validation`` or ``training``.
        trains_on_validation: Whether it also fits weights to validation samples.
        num_seeds: Number of finished cells.
        average: Average accuracy on the test split.
        worst_group: Worst-group accuracy on the test split.
        difference: Difference of the worst group to ERM; ``None`` for ERM, and without a common seed.
        cost: Mean cost; ERM has cost 1.
    """

    method: str
    title: str
    needs: str
    trains_on_validation: bool
    num_seeds: int
    average: Spread
    worst_group: Spread
    difference: Difference | None
    cost: float


@dataclass(frozen=True)
class Panel:
    """All methods on one data set with one network.

    Attributes:
        data: Name of the data.
        network: Name of the network.
        rule: Selection rule that chose the setting of every method.
        methods: Methods by need of group labels, then by descending worst-group accuracy.
    """

    data: str
    network: str
    rule: str
    methods: tuple[MethodSummary, ...]


def paired_interval(differences: Sequence[float], *, confidence: float = 0.95) -> tuple[float, float] | None:
    """Return the Student-t interval of the mean of paired differences; ``None`` for fewer than two.

    Args:
        differences: One difference per seed.
        confidence: Coverage in (0, 1).

    References:
        Student 1908, Biometrika 6, 1-25.
    """
    count = len(differences)
    if count < 2:
        return None
    mean, deviation = statistics.mean(differences), statistics.stdev(differences)
    half = float(t.ppf(0.5 + confidence / 2, count - 1)) * deviation / math.sqrt(count)
    return mean - half, mean + half


def summarise_rows(rows: pd.DataFrame) -> tuple[Panel, ...]:
    """Summarise the rows of a benchmark over seeds.

    Args:
        rows: Rows from `prusc.benchmark.rows.read_rows`, or read from ``rows.csv``.

    Returns:
        One panel per data set, network and rule, in the order of the rows.
    """
    panels: dict[tuple[str, str, str], dict[str, list[dict[str, Any]]]] = {}
    for row in _records(rows):
        methods = panels.setdefault((row["data"], row["network"], row["rule"]), {})
        methods.setdefault(row["method"], []).append(row)
    return tuple(
        Panel(*key, methods=_in_order(_summarise(own, methods.get(REFERENCE, [])) for own in methods.values()))
        for key, methods in panels.items()
    )


def average_over_panels(rows: pd.DataFrame) -> tuple[Panel, ...]:
    """Average each seed over all data sets and networks, and summarise these averages over seeds.

    Args:
        rows: Rows as `summarise_rows` takes them.

    Returns:
        One panel named `EVERYWHERE`, from the seeds that a method has finished on all data sets and networks. Empty if
        there is only one data set and network, or no such seed.
    """
    panels = rows[["data", "network", "rule"]].drop_duplicates()
    if len(panels) < 2:
        return ()
    identity = ["method", "title", "needs", "trains_on_validation", "seed"]
    runs = rows.groupby(identity, sort=False)[["average_accuracy", "worst_group_accuracy", "cost"]]
    means = runs.mean()[runs.size() == len(panels)].reset_index()
    return summarise_rows(means.assign(data=EVERYWHERE, network=EVERYWHERE, rule=", ".join(panels["rule"].unique())))


def panels_table(panels: Iterable[Panel]) -> pd.DataFrame:
    """Return the panels as one flat table, with one row per panel and method."""
    rows = []
    for panel in panels:
        for method in panel.methods:
            row = asdict(method)
            difference = row.pop("difference") or {"mean": None, "interval": None, "num_seeds": 0}
            low, high = difference["interval"] or (None, None)
            average, worst = row.pop("average"), row.pop("worst_group")
            rows.append(
                {
                    "data": panel.data,
                    "network": panel.network,
                    "rule": panel.rule,
                    **row,
                    "average_mean": average["mean"],
                    "average_sd": average["deviation"],
                    "worst_group_mean": worst["mean"],
                    "worst_group_sd": worst["deviation"],
                    "difference_mean": difference["mean"],
                    "difference_low": low,
                    "difference_high": high,
                    "num_differences": difference["num_seeds"],
                }
            )
    return pd.DataFrame(rows)


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _summarise(own: Sequence[dict[str, Any]], reference: Sequence[dict[str, Any]]) -> MethodSummary:
    first = own[0]
    worst = {row["seed"]: float(row["worst_group_accuracy"]) for row in own}
    of_reference = {row["seed"]: float(row["worst_group_accuracy"]) for row in reference}
    differences = [value - of_reference[seed] for seed, value in worst.items() if seed in of_reference]
    return MethodSummary(
        method=first["method"],
        title=first["title"],
        needs=first["needs"],
        trains_on_validation=bool(first["trains_on_validation"]),
        num_seeds=len(own),
        average=_spread([float(row["average_accuracy"]) for row in own]),
        worst_group=_spread(list(worst.values())),
        difference=(
            None
            if first["method"] == REFERENCE or not differences
            else Difference(statistics.mean(differences), paired_interval(differences), len(differences))
        ),
        cost=statistics.mean(float(row["cost"]) for row in own),
    )


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def _in_order(methods: Iterable[MethodSummary]) -> tuple[MethodSummary, ...]:
    return tuple(sorted(methods, key=lambda method: (_ORDER[method.needs], -method.worst_group.mean)))
