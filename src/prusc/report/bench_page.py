"""The page of a benchmark: tables, a chart of average against worst group, every group, and links to the runs."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from prusc.errors import RunFolderError
from prusc.report.charts import PALETTE, Rating, chart_ratings
from prusc.report.page import render_page
from prusc.report.text import group_name, groups_by_key
from prusc.runs.artifacts import evaluation_from_dict
from prusc.runs.folder import METRICS
from prusc.stages.evaluation import GroupAccuracy, GroupEvaluation

ROWS, TABLE, ERROR = "rows.csv", "table.csv", "error.json"
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "x", "star")


@dataclass(frozen=True)
class BenchCell:
    """One run.

    Attributes:
        row: Its row of ``rows.csv``.
        link: Link to its report if it has one, else to its folder.
        test: Its results on the test split; ``None`` if its folder no longer exists.
    """

    row: Mapping[str, Any]
    link: str
    test: GroupEvaluation | None


@dataclass(frozen=True)
class MethodGroups:
    """All groups of one method on one data set, by seed.

    Attributes:
        title: Title of the method.
        columns: The seeds whose folders exist.
        groups: Name, number of samples and result per seed of each group; ``None`` where a seed has no such group.
    """

    title: str
    columns: tuple[str, ...]
    groups: tuple[tuple[str, int, tuple[GroupAccuracy | None, ...]], ...]


@dataclass(frozen=True)
class BenchPanel:
    """All results of one data set, network and selection rule.

    Attributes:
        title: Names of data and network.
        rule: Name of the selection rule.
        chart: Element id of its chart.
        methods: Its rows of ``table.csv``.
        cells: Its runs.
        groups: Its groups, by method.
    """

    title: str
    rule: str
    chart: str
    methods: tuple[Mapping[str, Any], ...]
    cells: tuple[BenchCell, ...]
    groups: tuple[MethodGroups, ...]


def is_bench(path: Path) -> bool:
    """Return whether a folder is the folder of a benchmark."""
    return (path / ROWS).is_file() and (path / TABLE).is_file()


def render_bench(path: Path) -> str:
    """Return the page of a benchmark.

    Args:
        path: Folder of the benchmark; the function reads nothing else. Run folders may be missing.

    Returns:
        HTML.

    Raises:
        RunFolderError: If ``rows.csv`` or ``table.csv`` cannot be read.
    """
    try:
        rows, table = (_read_records(path / name) for name in (ROWS, TABLE))
        keys = list(dict.fromkeys(map(_key, rows)))
        panels = [_make_panel(path, key, number, rows, table) for number, key in enumerate(keys)]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunFolderError(
            f"{path} is not as prusc bench writes it ({type(error).__name__}: {error}); run prusc bench again to "
            "rewrite {ROWS} and {TABLE}"
        ) from error
    return render_page(
        "bench.html",
        charts={panel.chart: _draw(panel) for panel in panels},
        data={"map": None, "gallery": None},
        title=f"Benchmark {path.absolute().name}",
        panels=panels,
        # Rows that belong to no panel are means over all panels.
        overall=[row for row in table if _key(row) not in keys],
        failed=_read_failed(path),
    )


def _read_records(path: Path) -> list[dict[str, Any]]:
    """Read a CSV file as rows; empty cells become ``None``, and names such as NA stay text."""
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except pd.errors.EmptyDataError:
        return []
    return [
        {str(name): None if pd.isna(value) else value for name, value in row.items()}
        for row in table.to_dict("records")
    ]


def _key(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(row["data"]), str(row["network"]), str(row["rule"])


def _make_panel(
    path: Path,
    key: tuple[str, str, str],
    number: int,
    rows: Sequence[Mapping[str, Any]],
    table: Sequence[Mapping[str, Any]],
) -> BenchPanel:
    cells = [_read_cell(path, row) for row in rows if _key(row) == key]
    methods = tuple(row for row in table if _key(row) == key)
    of_method = {row["method"]: [cell for cell in cells if cell.row["method"] == row["method"]] for row in methods}
    return BenchPanel(
        title=f"{key[0]}, {key[1]}",
        rule=key[2],
        chart=f"chart-{number}",
        methods=methods,
        cells=tuple(cells),
        groups=tuple(_list_groups(str(row["title"]), of_method[row["method"]]) for row in methods),
    )


def _read_cell(path: Path, row: Mapping[str, Any]) -> BenchCell:
    # rows.csv may come from anywhere, so links must stay inside this folder.
    folder = path / Path(os.path.normpath(f"/{row['folder']}")).relative_to("/")
    relative = folder.relative_to(path).as_posix()
    link = f"./{relative}/report.html" if (folder / "report.html").is_file() else f"./{relative}/"
    try:
        metrics = json.loads((folder / METRICS).read_text("utf-8"))
        test = evaluation_from_dict(metrics["results"][row.get("family") or metrics["handed_back"]]["test"])
    except (OSError, ValueError, KeyError, TypeError):
        test = None
    return BenchCell(row, link, test)


def _list_groups(title: str, cells: Sequence[BenchCell]) -> MethodGroups:
    found = [(f"seed {cell.row['seed']}", groups_by_key(cell.test)) for cell in cells if cell.test is not None]
    keys = dict.fromkeys(key for _, groups in found for key in groups)
    groups = []
    for key in keys:
        figures = tuple(groups.get(key) for _, groups in found)
        first = next(figure for figure in figures if figure is not None)
        groups.append((group_name(first), first.num_samples, figures))
    return MethodGroups(title, tuple(column for column, _ in found), tuple(groups))


def _draw(panel: BenchPanel) -> go.Figure:
    ratings = []
    for number, method in enumerate(panel.methods):
        colour, symbol = PALETTE[number % len(PALETTE)], _SYMBOLS[number % len(_SYMBOLS)]
        ratings += [
            Rating(str(method["title"]), f"seed {cell.row['seed']}", cell.test, colour, symbol)
            for cell in panel.cells
            if cell.row["method"] == method["method"] and cell.test is not None
        ]
    return chart_ratings(ratings)


def _read_failed(path: Path) -> list[tuple[str, str]]:
    found = []
    for file in sorted(path.glob(f"*/*/*/*/{ERROR}")):
        try:
            found.append((file.parent.relative_to(path).as_posix(), str(json.loads(file.read_text("utf-8"))["error"])))
        except (OSError, ValueError, KeyError, TypeError):
            found.append((file.parent.relative_to(path).as_posix(), "error.json cannot be read"))
    return found
