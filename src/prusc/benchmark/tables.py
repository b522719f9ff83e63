"""Tables of a benchmark in Markdown and LaTeX, with the selection rule."""

from collections.abc import Iterable, Sequence

from prusc.benchmark.summary import (
    EVERYWHERE,
    MAX_GROUPS,
    MEASURE_TITLES,
    MIN_GROUP_SIZE,
    Difference,
    MethodSummary,
    Panel,
    Spread,
)

_LEGEND = (
    "Results on the test split: mean over seeds in % (standard deviation, ddof 1). *Aligned* and *conflicting*: "
    "accuracy over the samples that follow the shortcut, and over those that contradict it. The worst group counts "
    f"if there are at most {MAX_GROUPS} groups, of at least {MIN_GROUP_SIZE} test samples each; the lowest of more or "
    "smaller groups is mostly luck. Differences are in points, paired by seed, with the 95 % interval of their mean "
    "(Student's t); p is that of the paired t test, with Holm's correction for all methods of the table. Beside the "
    "chosen candidate: what true validation groups (*by groups*), the paper's own rule (*own rule*) and the test split "
    "itself (*best*, an oracle) would have chosen among the same candidates, by the measure that is compared. Cost is "
    "the training time over all settings tried, relative to ERM, with the ERM network if a method starts from it."
)
_LEGEND_VALIDATION = " + val: the method also fits weights to validation samples."


def make_header(measure: str) -> tuple[str, ...]:
    """Return the heads of a table whose methods are compared by a measure."""
    return (
        "method",
        "group labels",
        "seeds",
        "average",
        "aligned",
        "conflicting",
        "worst group",
        f"{MEASURE_TITLES[measure]} minus ERM",
        "p (Holm)",
        "by groups",
        "own rule",
        "best",
        "candidates",
        "cost",
    )


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
            f"Chosen by: {panel.rule}. Compared by: {MEASURE_TITLES[panel.measure]}.",
            markdown_table(make_header(panel.measure), (_cells(method, panel.measure) for method in panel.methods)),
            *describe_headline(panel),
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
        legend = " ".join([_legend([panel]).replace("*", ""), *describe_headline(panel)])
        caption = f"{panel_title(panel.data, panel.network)}. Chosen by: {panel.rule}. {legend}"
        lines = [
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{_latex(caption)}}}",
            r"\begin{tabular}{ll" + "r" * 12 + "}",
            r"\toprule",
            " & ".join(make_header(panel.measure)) + r" \\",
            r"\midrule",
            *(" & ".join(map(_latex, _cells(method, panel.measure))) + r" \\" for method in panel.methods),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def panel_title(data: str, network: str) -> str:
    """Return the heading of a table."""
    return "Mean over all data sets and networks" if data == EVERYWHERE else f"{data}, {network}"


def describe_headline(panel: Panel) -> tuple[str, ...]:
    """Return a sentence on what PruSC's masks add to heads of the whole network; nothing if that is not known."""
    if panel.headline is None:
        return ()
    return (
        f"PruSC minus the whole network's heads on the same grid, {MEASURE_TITLES[panel.measure]}: "
        f"{_difference(panel.headline)} points ({panel.headline.num_seeds} seeds).",
    )


def _cells(method: MethodSummary, measure: str) -> list[str]:
    difference = method.difference
    p_holm = None if difference is None else difference.p_holm
    return [
        _title(method),
        method.needs,
        str(method.num_seeds),
        _spread(method.average),
        _spread(method.aligned),
        _spread(method.conflicting),
        "" if measure == "conflicting" else _spread(method.worst_group),
        "" if difference is None else _difference(difference),
        "" if p_holm is None else ("< 0.001" if p_holm < 0.001 else f"{p_holm:.3f}"),
        *("" if value is None else _percent(value) for value in method.choices.values()),
        "" if method.num_candidates is None else f"{method.num_candidates:.0f}",
        f"{method.cost:.1f}",
    ]


def _difference(difference: Difference) -> str:
    text = f"{100 * difference.mean:+.1f}"
    if difference.interval is None:
        return text
    low, high = difference.interval
    return f"{text} [{100 * low:+.1f}, {100 * high:+.1f}]"


def _title(method: MethodSummary) -> str:
    return f"{method.title} (+ val)" if method.trains_on_validation else method.title


def _legend(panels: Sequence[Panel]) -> str:
    fits = any(method.trains_on_validation for panel in panels for method in panel.methods)
    return f"{_LEGEND}{_LEGEND_VALIDATION if fits else ''}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def _spread(spread: Spread | None) -> str:
    if spread is None:
        return ""
    return _percent(spread.mean) + ("" if spread.deviation is None else f" ({_percent(spread.deviation)})")


def _latex(text: str) -> str:
    special = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    return "".join(special.get(letter, f"\\{letter}" if letter in "&%$#_{}" else letter) for letter in text)
