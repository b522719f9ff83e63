"""Summary of rows: means over seeds, differences to ERM paired by seed, and cost."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import pandas as pd

from prusc.benchmark.intervals import adjust_by_holm, paired_interval, paired_p_value
from prusc.benchmark.matrix import REFERENCE
from prusc.benchmark.rows import CHOICES, HEADS, MEASURES

# Tables list the methods that use the fewest group labels first, and the ceiling last.
_ORDER = {"none": 0, "validation": 1, "training": 2, "unbiased data": 3}

# Stands for data and network in rows that are means over all of them.
EVERYWHERE = "(all)"

MAX_GROUPS = 16
"""Largest number of groups whose worst one is compared: the lowest of many accuracies is mostly luck."""

MIN_GROUP_SIZE = 20
"""Smallest number of test samples of every group whose worst one is compared."""

MEASURE_TITLES = {
    "worst_group": "worst group",
    "conflicting": "bias-conflicting",
    "mixed": "worst group or conflicting",
}
"""What methods are compared by: the worst group, or where that is mostly luck, the bias-conflicting samples."""


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
    """One method's measure minus that of another, paired by seed.

    Attributes:
        mean: Mean over the seeds that both methods have.
        interval: Its 95 % interval by Student's t; ``None`` for one seed.
        num_seeds: Number of seeds that both methods have.
        p_value: Two-sided p-value of the paired t test; ``None`` for one seed.
        p_holm: The p-value with Holm's correction for all methods of the panel.
    """

    mean: float
    interval: tuple[float, float] | None
    num_seeds: int
    p_value: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class MethodSummary:
    """A method on one data set with one network.

    Attributes:
        method: Name of the method.
        title: Title of the method in tables.
        needs: Group labels that it needs: ``none``, ``validation`` or ``training``; ``unbiased data`` for the ceiling.
        trains_on_validation: Whether it also fits weights to validation samples.
        num_seeds: Number of finished cells.
        average: Average accuracy on the test split.
        aligned: Accuracy over the bias-aligned samples of the test split; ``None`` if it is not known.
        conflicting: Accuracy over the bias-conflicting samples.
        worst_group: Worst-group accuracy on the test split.
        difference: Difference of the measure to ERM; ``None`` for ERM, and without a common seed.
        choices: Mean measure of other choices among the same candidates, by `CHOICES`; ``None`` if it is not known.
        num_candidates: Mean number of candidates; ``None`` if it is not known.
        cost: Mean cost; ERM has cost 1.
    """

    method: str
    title: str
    needs: str
    trains_on_validation: bool
    num_seeds: int
    average: Spread
    aligned: Spread | None
    conflicting: Spread | None
    worst_group: Spread
    difference: Difference | None
    choices: Mapping[str, float | None]
    num_candidates: float | None
    cost: float

    def by(self, measure: str) -> Spread:
        """Return what a panel's measure says of the method."""
        return self.conflicting if measure == "conflicting" and self.conflicting is not None else self.worst_group


@dataclass(frozen=True)
class Panel:
    """All methods on one data set with one network.

    Attributes:
        data: Name of the data.
        network: Name of the network.
        rule: Selection rule that chose the setting of every method.
        measure: What methods are compared by; a key of `MEASURE_TITLES`.
        methods: Methods by need of group labels, then by descending measure.
        headline: PruSC minus the whole network's heads on PruSC's grid; ``None`` without both.
    """

    data: str
    network: str
    rule: str
    measure: str
    methods: tuple[MethodSummary, ...]
    headline: Difference | None = None


def add_measure(rows: pd.DataFrame) -> pd.DataFrame:
    """Add the columns ``measure`` and ``measure_accuracy``, and the measure of each other choice.

    A panel is compared by the worst group if it has at most `MAX_GROUPS` groups of at least `MIN_GROUP_SIZE` test
    samples, else by the bias-conflicting samples. Rows that do not say are compared by the worst group.
    """
    if "measure" in rows:
        return rows
    rows = rows.reset_index(drop=True)
    unknown = pd.Series(math.nan, index=rows.index)
    many = rows.get("num_groups", unknown).astype(float) > MAX_GROUPS
    small = rows.get("num_samples_smallest_group", unknown).astype(float) < MIN_GROUP_SIZE
    by_panel = (many | small).groupby([rows.data, rows.network, rows.rule]).transform("any")
    found: dict[str, pd.Series[Any]] = {"measure": by_panel.map({True: "conflicting", False: "worst_group"})}
    for prefix in ("", *(f"{choice}_" for choice in CHOICES)):
        worst, conflicting = (
            rows.get(f"{prefix}{measure}_accuracy", unknown).astype(float) for measure in ("worst_group", "conflicting")
        )
        found[f"{prefix or 'measure_'}accuracy"] = conflicting.where(by_panel.astype(bool), worst)
    return rows.assign(**found)


def summarise_rows(rows: pd.DataFrame) -> tuple[Panel, ...]:
    """Summarise the rows of a benchmark over seeds.

    Args:
        rows: Rows from `prusc.benchmark.rows.read_rows`, or read from ``rows.csv``.

    Returns:
        One panel per data set, network and rule, in the order of the rows.
    """
    panels: dict[tuple[str, str, str], dict[str, list[dict[str, Any]]]] = {}
    for row in _records(add_measure(rows)):
        methods = panels.setdefault((row["data"], row["network"], row["rule"]), {})
        methods.setdefault(row["method"], []).append(row)
    return tuple(_make_panel(key, methods) for key, methods in panels.items())


def average_over_panels(rows: pd.DataFrame) -> tuple[Panel, ...]:
    """Average each seed over all data sets and networks, and summarise these averages over seeds.

    Args:
        rows: Rows as `summarise_rows` takes them.

    Returns:
        One panel named `EVERYWHERE`, from the seeds that a method has finished on all data sets and networks. Empty if
        there is only one data set and network, or no such seed.
    """
    rows = add_measure(rows)
    panels = rows[["data", "network", "rule", "measure"]].drop_duplicates()
    if len(panels) < 2:
        return ()
    identity = ["method", "title", "needs", "trains_on_validation", "seed"]
    numbers = ["average_accuracy", "aligned_accuracy", "conflicting_accuracy", "worst_group_accuracy"]
    numbers += ["measure_accuracy", *(f"{choice}_accuracy" for choice in CHOICES), "num_candidates", "cost"]
    runs = rows.reindex(columns=[*identity, *numbers]).astype(dict.fromkeys(numbers, float))
    groups = runs.groupby(identity, sort=False)[numbers]
    # A figure that some data set lacks has no mean over all.
    means = groups.mean().where(groups.count() == len(panels))[groups.size() == len(panels)].reset_index()
    measures = panels["measure"].unique()
    return summarise_rows(
        means.assign(
            data=EVERYWHERE,
            network=EVERYWHERE,
            rule=", ".join(panels["rule"].unique()),
            measure=measures[0] if len(measures) == 1 else "mixed",
        )
    )


def compare(own: Sequence[Mapping[str, Any]], others: Sequence[Mapping[str, Any]]) -> Difference | None:
    """Return the difference of the measure between two methods, paired by seed; ``None`` without a common seed.

    Args:
        own: Rows of one method, one per seed, from `add_measure`.
        others: Rows of the other method on the same data and network.
    """
    theirs = {row["seed"]: float(row["measure_accuracy"]) for row in others}
    differences = [float(row["measure_accuracy"]) - theirs[row["seed"]] for row in own if row["seed"] in theirs]
    differences = [value for value in differences if not math.isnan(value)]
    if not differences:
        return None
    p_value = paired_p_value(differences)
    return Difference(statistics.mean(differences), paired_interval(differences), len(differences), p_value, p_value)


def panels_table(panels: Iterable[Panel]) -> pd.DataFrame:
    """Return the panels as one flat table, with one row per panel and method."""
    rows = []
    for panel in panels:
        for method in panel.methods:
            row = asdict(method)
            difference = row.pop("difference") or {}
            low, high = difference.get("interval") or (None, None)
            spreads = {name: row.pop(name) or {} for name in ("average", "aligned", "conflicting", "worst_group")}
            choices = row.pop("choices")
            rows.append(
                {
                    "data": panel.data,
                    "network": panel.network,
                    "rule": panel.rule,
                    "measure": panel.measure,
                    **row,
                    **{f"{name}_mean": spread.get("mean") for name, spread in spreads.items()},
                    **{f"{name}_sd": spread.get("deviation") for name, spread in spreads.items()},
                    **{f"choice_{name}_mean": value for name, value in choices.items()},
                    "difference_mean": difference.get("mean"),
                    "difference_low": low,
                    "difference_high": high,
                    "num_differences": difference.get("num_seeds", 0),
                    "p_value": difference.get("p_value"),
                    "p_holm": difference.get("p_holm"),
                }
            )
    return pd.DataFrame(rows)


def _make_panel(key: tuple[str, str, str], methods: Mapping[str, list[dict[str, Any]]]) -> Panel:
    found = [_summarise(own, methods.get(REFERENCE, [])) for own in methods.values()]
    measure = next(iter(methods.values()))[0]["measure"]
    headline = compare(methods["prusc"], methods[HEADS]) if {"prusc", HEADS} <= methods.keys() else None
    return Panel(*key, measure, _in_order(_correct(found), measure), headline)


def _correct(methods: Sequence[MethodSummary]) -> list[MethodSummary]:
    """Correct the p-values of all methods for their number, the ceiling's left out."""
    compared = [None if m.difference is None or m.needs == "unbiased data" else m.difference.p_value for m in methods]
    corrected = []
    for method, p_holm in zip(methods, adjust_by_holm(compared), strict=True):
        difference = None if method.difference is None else replace(method.difference, p_holm=p_holm)
        corrected.append(replace(method, difference=difference))
    return corrected


def _records(rows: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(name): value for name, value in row.items()} for row in rows.to_dict("records")]


def _summarise(own: Sequence[dict[str, Any]], reference: Sequence[dict[str, Any]]) -> MethodSummary:
    first = own[0]
    average, worst = (_known(own, f"{name}_accuracy") for name in MEASURES[:2])
    numbers = _known(own, "num_candidates")
    return MethodSummary(
        method=first["method"],
        title=first["title"],
        needs=first["needs"],
        trains_on_validation=bool(first["trains_on_validation"]),
        num_seeds=len(own),
        average=_spread(average),
        aligned=_spread_if_known(_known(own, "aligned_accuracy")),
        conflicting=_spread_if_known(_known(own, "conflicting_accuracy")),
        worst_group=_spread(worst),
        difference=None if first["method"] == REFERENCE else compare(own, reference),
        choices={name: _mean_if_known(_known(own, f"{name}_accuracy")) for name in CHOICES},
        num_candidates=statistics.mean(numbers) if numbers else None,
        cost=statistics.mean(float(row["cost"]) for row in own),
    )


def _known(rows: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    """Return the values of a column, or nothing if some row lacks it."""
    values = [float(row[name]) if row.get(name) is not None else math.nan for row in rows]
    return [] if any(map(math.isnan, values)) else values


def _mean_if_known(values: Sequence[float]) -> float | None:
    return statistics.mean(values) if values else None


def _spread_if_known(values: Sequence[float]) -> Spread | None:
    return _spread(values) if values else None


def _spread(values: Sequence[float]) -> Spread:
    return Spread(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else None)


def _in_order(methods: Iterable[MethodSummary], measure: str) -> tuple[MethodSummary, ...]:
    return tuple(sorted(methods, key=lambda method: (_ORDER[method.needs], -method.by(measure).mean)))
