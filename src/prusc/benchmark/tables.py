"""Tables of a benchmark in Markdown and LaTeX, with the selection rule."""

from collections.abc import Iterable, Sequence

from prusc.benchmark.summary import EVERYWHERE, MethodSummary, Panel, Spread

_HEADER = ("method", "group labels", "seeds", "average", "worst group", "worst group minus ERM", "cost")
_LEGEND = (
    "Results on the test split: mean over seeds in % (standard deviation, ddof 1). Differences are in points, paired "
    "by seed, with the 95 % interval of their mean (Student's t). Cost is the training time over all settings tried, "
    "relative to ERM; it includes the ERM network if a method starts from it."
)
_LEGEND_VALIDATION = " + val: the method also fits weights to validation samples."


def markdown_tables(panels: Sequence[Panel], *, level: int = 2) -> str:
    """Return a Markdown table for each panel.

    Args:
        panels: Summaries of the benchmark.
        level: Level of the headings.

    Returns:
        Markdown.
    """
    if not panels:
        return "No cell is finished.\n"
    parts = [_legend(panels)]
    for panel in panels:
        parts += [
            f"{'#' * level} {panel_title(panel.data, panel.network)}",
            f"Chosen by: {panel.rule}.",
            markdown_table(_HEADER, map(_cells, panel.methods)),
        ]
    return "\n\n".join(parts) + "\n"


def markdown_table(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; a ``|`` in a cell is escaped."""
    escaped = ([cell.replace("|", r"\|") for cell in line] for line in lines)
    return "\n".join(f"| {' | '.join(line)} |" for line in (header, ["---"] * len(header), *escaped))


def latex_tables(panels: Sequence[Panel]) -> str:
    """Return a LaTeX table for each panel; it needs the package booktabs."""
    parts = [r"% Needs \usepackage{booktabs}. Made by prusc bench."]
    for panel in panels:
        caption = f"{panel_title(panel.data, panel.network)}. Chosen by: {panel.rule}. {_legend([panel])}"
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(caption)}}}",
            r"\begin{tabular}{llrrrrr}",
            r"\toprule",
            " & ".join(_HEADER) + r" \\",
            r"\midrule",
            *(" & ".join(map(_latex, _cells(method))) + r" \\" for method in panel.methods),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def panel_title(data: str, network: str) -> str:
    """Return the heading of a table."""
    return "Mean over all data sets and networks" if data == EVERYWHERE else f"{data}, {network}"


def _cells(method: MethodSummary) -> list[str]:
    difference = ""
    if method.difference is not None:
        difference = f"{100 * method.difference.mean:+.1f}"
        if method.difference.interval is not None:
            low, high = method.difference.interval
            difference += f" [{100 * low:+.1f}, {100 * high:+.1f}]"
    return [
        _title(method),
        method.needs,
        str(method.num_seeds),
        _spread(method.average),
        _spread(method.worst_group),
        difference,
        f"{method.cost:.1f}",
    ]


def _title(method: MethodSummary) -> str:
    return f"{method.title} (+ val)" if method.trains_on_validation else method.title


def _legend(panels: Sequence[Panel]) -> str:
    fits = any(method.trains_on_validation for panel in panels for method in panel.methods)
    return f"{_LEGEND}{_LEGEND_VALIDATION if fits else ''}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _spread(spread: Spread) -> str:
    return _percent(spread.mean) + ("" if spread.deviation is None else f" ({_percent(spread.deviation)})")


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in text)
