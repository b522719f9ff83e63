"""Plot of average against worst-group accuracy, as SVG."""

import io
import warnings
from collections.abc import Sequence
from typing import Any

from prusc.benchmark.summary import MEASURE_TITLES, Panel, Spread

_MARKERS = {"none": "o", "validation": "s", "training": "^", "unbiased data": "D"}
_MAX_COLUMNS = 3


def draw_plot(panels: Sequence[Panel]) -> bytes:
    """Draw one panel per data set and network, with one mark and its standard deviations per method.

    Args:
        panels: At least one panel.

    Returns:
        SVG; equal panels give equal bytes.

    Raises:
        ImportError: If matplotlib is not installed.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    columns = min(_MAX_COLUMNS, len(panels))
    lines = -(-len(panels) // columns)
    needs = {method.title: method.needs for panel in panels for method in panel.methods}
    colours = mpl.colormaps["tab20"](range(20))
    style = {title: (colours[i % 20], _MARKERS[need]) for i, (title, need) in enumerate(needs.items())}
    # Dollar signs in names are not formulas; a fixed salt makes the file reproducible.
    settings: Any = {"text.usetex": False, "text.parse_math": False, "svg.hashsalt": "prusc", "font.size": 9}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # matplotlib draws a box for a letter that the font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        figure = Figure(figsize=(1.9 + 3.6 * columns, max(3.4 * lines, 0.9 + 0.2 * len(needs))), layout="constrained")
        grid = figure.subplots(lines, columns, squeeze=False)
        for axes in grid.flat[len(panels) :]:
            axes.set_axis_off()
        for axes, panel in zip(grid.flat, panels, strict=False):
            axes.set_title(f"{panel.data}, {panel.network}\nchosen by {panel.rule}", fontsize=9)
            axes.set_xlabel("average accuracy in %")
            axes.set_ylabel(f"{MEASURE_TITLES[panel.measure]} in %")
            axes.grid(alpha=0.3)
            for method in panel.methods:
                colour, marker = style[method.title]
                axes.errorbar(
                    100 * method.average.mean,
                    100 * method.by(panel.measure).mean,
                    xerr=_deviation(method.average),
                    yerr=_deviation(method.by(panel.measure)),
                    color=colour,
                    marker=marker,
                    elinewidth=0.8,
                )
        figure.legend(
            handles=[Line2D([], [], color=c, marker=m, linestyle="", label=title) for title, (c, m) in style.items()],
            loc="outside right upper",
            title="group labels: ● none\n■ validation, ▲ training\n◆ data without the shortcut",
            fontsize=8,
            title_fontsize=8,
        )
        content = io.BytesIO()
        figure.savefig(content, format="svg", metadata={"Date": None})
    return content.getvalue()


def _deviation(spread: Spread) -> float | None:
    return None if spread.deviation is None else 100 * spread.deviation
