"""Two or more runs and audits side by side."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prusc.config import config_to_dict
from prusc.report.charts import NETWORK_STYLES, Rating, chart_ratings
from prusc.report.names import tell_name, view_names
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
class AuditRow:
    """One audit in the table of audits.

    Attributes:
        name: Shortest end of its path that differs from the other folders.
        link: Link to its report, relative to the page.
        run: Content of its folder.
        verdict: Verdict of the audit.
        num_suspects: Number of suspect clusters.
        num_clusters: Number of clusters.
        structure: How well the clusters are separated.
        accuracy: Accuracy of the ERM network on the validation split.
        suspects: Number, main class and name of each suspect; the name is empty if nothing was found.
    """

    name: str
    link: str
    run: RunRecord
    verdict: str
    num_suspects: int
    num_clusters: int
    structure: str
    accuracy: float
    suspects: tuple[tuple[int, str, str], ...]


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
    """Return the page that compares runs and audits.

    Args:
        runs: At least two finished runs or audits.
        page_path: Path of the page; links are relative to it.

    Returns:
        HTML.
    """
    rows = list_runs([run for run in runs if run.is_finished], page_path, runs)
    ratings = [
        Rating(FAMILY_TITLES[family], row.name, row.run.evaluations[family]["test"], *NETWORK_STYLES[family])
        for family in FAMILY_TITLES
        for row in rows
        if family in row.run.evaluations
    ]
    return render_page(
        "comparison.html",
        charts={"chart-ratings": chart_ratings(ratings)} if ratings else {},
        data={"map": None, "gallery": None},
        title=f"{_count(runs)} side by side",
        rows=rows,
        audits=list_audits(runs, page_path),
        names=short_names([run.path for run in runs]),
        groups=compare_groups(rows),
        settings=differing_settings(runs),
        same_data=len({run.data_name for run in runs}) == 1,
    )


def _count(runs: Sequence[RunRecord]) -> str:
    numbers = {"run": sum(run.is_finished for run in runs), "audit": sum(run.is_audit for run in runs)}
    return " and ".join(f"{number} {name}{'s' * (number > 1)}" for name, number in numbers.items() if number)


def list_audits(runs: Sequence[RunRecord], page_path: Path) -> list[AuditRow]:
    """Return what each audit found, in the given order; runs are left out."""
    names = short_names([run.path for run in runs])
    rows = []
    for name, run in zip(names, runs, strict=True):
        if not run.is_audit:
            continue
        tested = run.tested or ()
        told, num = view_names(run), sum(sum(cluster.class_counts) for cluster in tested)
        suspects = [cluster for cluster in tested if cluster.is_suspect]
        rows.append(
            AuditRow(
                name=name,
                link=_link(run.path, page_path),
                run=run,
                verdict=run.audit["verdict"],
                num_suspects=len(suspects),
                num_clusters=len(tested),
                structure=run.audit["structure"],
                accuracy=sum(sum(cluster.class_counts) * cluster.accuracy for cluster in tested) / num,
                suspects=tuple(
                    (cluster.cluster, run.class_names[cluster.main_label], tell_name(told.get(cluster.cluster)))
                    for cluster in suspects
                ),
            )
        )
    return rows


def list_runs(runs: Sequence[RunRecord], page_path: Path, beside: Sequence[RunRecord] | None = None) -> list[RunRow]:
    """Return finished runs as rows of a table, in the given order; names differ from those of all folders beside."""
    paths = [run.path for run in beside or runs]
    of_path = dict(zip(paths, short_names(paths), strict=True))
    names = [of_path[run.path] for run in runs]
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


def differing_settings(runs: Sequence[RunRecord]) -> list[tuple[str, list[str]]]:
    """Return the settings that differ between the runs, with the value of each run."""
    flat = [_flatten(config_to_dict(run.config)) for run in runs]
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
