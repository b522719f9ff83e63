"""Two or more runs side by side."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prusc.config import config_to_dict
from prusc.report.charts import NETWORK_STYLES, Rating, chart_ratings
from prusc.report.page import render_page
from prusc.report.record import RunRecord
from prusc.report.text import group_name, groups_by_key
from prusc.runs.result import FAMILY_TITLES
from prusc.stages.evaluation import GroupAccuracy, GroupEvaluation


@dataclass(frozen=True)
class RunRow:
    """One run in the table.

    Attributes:
        name: Shortest end of its path that differs from the other runs.
        link: Link to its report, relative to the page.
        run: Content of its folder.
        before: Results of the ERM network on the test split.
        after: Results of the chosen network on the test split.
        seconds: Wall time of all its stages.
    """

    name: str
    link: str
    run: RunRecord
    before: GroupEvaluation
    after: GroupEvaluation
    seconds: float


@dataclass(frozen=True)
class GroupComparison:
    """One group in all runs.

    Attributes:
        name: Class and attributes.
        before: Result of the ERM network in each run; ``None`` where a run has no such group.
        after: Result of the chosen network in each run.
    """

    name: str
    before: tuple[GroupAccuracy | None, ...]
    after: tuple[GroupAccuracy | None, ...]


def render_comparison(runs: Sequence[RunRecord], page_path: Path) -> str:
    """Return the page that compares runs.

    Args:
        runs: At least two finished runs.
        page_path: Path of the page; links are relative to it.

    Returns:
        HTML.
    """
    rows = list_runs(runs, page_path)
    ratings = [
        Rating(FAMILY_TITLES[family], row.name, row.run.evaluations[family]["test"], *NETWORK_STYLES[family])
        for family in FAMILY_TITLES
        for row in rows
        if family in row.run.evaluations
    ]
    return render_page(
        "comparison.html",
        charts={"chart-ratings": chart_ratings(ratings)},
        data={"map": None},
        title=f"{len(rows)} runs side by side",
        rows=rows,
        groups=compare_groups(rows),
        settings=differing_settings(rows),
        same_data=len({run.data_name for run in runs}) == 1,
    )


def list_runs(runs: Sequence[RunRecord], page_path: Path) -> list[RunRow]:
    """Return the runs as rows of a table, in the given order."""
    names = short_names([run.path for run in runs])
    return [
        RunRow(
            name=name,
            link=_link(run.path, page_path),
            run=run,
            before=run.evaluations["erm"]["test"],
            after=run.evaluations["subnetwork"]["test"],
            seconds=sum(run.seconds.values()),
        )
        for name, run in zip(names, runs, strict=True)
    ]


def short_names(paths: Sequence[Path]) -> list[str]:
    """Return the shortest ends of the paths that differ from each other."""
    parts = [path.absolute().parts for path in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return [str(path) for path in paths]


def _link(folder: Path, page_path: Path) -> str:
    relative = os.path.relpath((folder / "report.html").absolute(), page_path.absolute().parent)
    # A folder named javascript:x must not become a URL of that scheme.
    return Path(relative).as_posix() if relative.startswith(("../", "./")) else f"./{Path(relative).as_posix()}"


def compare_groups(rows: Sequence[RunRow]) -> list[GroupComparison]:
    """Return every group of the test split of any run, in the order of the first run."""
    before = [groups_by_key(row.before) for row in rows]
    after = [groups_by_key(row.after) for row in rows]
    keys = dict.fromkeys(key for groups in before for key in groups)
    return [
        GroupComparison(
            name=group_name(next(groups[key] for groups in before if key in groups)),
            before=tuple(groups.get(key) for groups in before),
            after=tuple(groups.get(key) for groups in after),
        )
        for key in keys
    ]


def differing_settings(rows: Sequence[RunRow]) -> list[tuple[str, list[str]]]:
    """Return the settings that differ between the runs, with the value of each run."""
    flat = [_flatten(config_to_dict(row.run.config)) for row in rows]
    names = sorted({name for settings in flat for name in settings})
    return [
        (name, values)
        for name in names
        for values in [[settings.get(name, "not given") for settings in flat]]
        if len(set(values)) > 1
    ]


def _flatten(settings: dict[str, object], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in settings.items():
        flat |= _flatten(value, f"{prefix}{name}.") if isinstance(value, dict) else {f"{prefix}{name}": str(value)}
    return flat
