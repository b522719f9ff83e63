"""Heat maps: matrices of shares, and of changes of shares."""

from collections.abc import Sequence

import plotly.graph_objects as go

from prusc.report.charts import AFTER, BEFORE, lay_out
from prusc.report.text import plain

# With more columns, the numbers of a heat map run into each other on a phone.
_MAX_NUMBERED = 12
_OPAQUE = 0.65


def chart_heat_map(
    values: Sequence[Sequence[float]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    texts: Sequence[Sequence[str]],
    is_change: bool = False,
) -> go.Figure:
    """Draw a matrix of shares in [0, 1], or of their changes in [-1, 1].

    The colours let the ground of the page shine through, so that the numbers can be read in light and dark.

    Args:
        values: One share per row and column.
        rows: Names of the rows, from top to bottom.
        columns: Names of the columns.
        texts: What a reader is told who points at a cell.
        is_change: Whether negative values have a colour of their own.

    Returns:
        A figure with the numbers in percent, if there are at most 12 columns.
    """
    scale = [[0, _colour(AFTER, 0)], [1, _colour(AFTER, _OPAQUE)]]
    if is_change:
        scale = [[0, _colour(BEFORE, _OPAQUE)], [0.5, _colour(AFTER, 0)], [1, _colour(AFTER, _OPAQUE)]]
    numbers = [[f"{100 * value:.0f}".replace("-0", "0").replace("-", "−") for value in row] for row in values]
    figure = go.Figure()
    figure.add_heatmap(
        z=[list(row) for row in values],
        zmin=-1 if is_change else 0,
        zmax=1,
        colorscale=scale,
        showscale=False,
        xgap=1,
        ygap=1,
        text=numbers,
        texttemplate="%{text}" if len(columns) <= _MAX_NUMBERED else "",
        textfont={"size": 11},
        customdata=[list(row) for row in texts],
        hovertemplate="%{customdata}<extra></extra>",
    )
    lay_out(figure, height=130 + 26 * max(len(rows), 3), x_title="")
    figure.update_xaxes(
        tickvals=list(range(len(columns))),
        ticktext=[plain(name, 16) for name in columns],
        tickangle=-60,
        showgrid=False,
    )
    figure.update_yaxes(
        showgrid=False,
        tickvals=list(range(len(rows))),
        ticktext=[plain(name, 18) for name in rows],
        range=[len(rows) - 0.5, -0.5],
    )
    return figure


def _colour(name: str, opacity: float) -> str:
    red, green, blue = (int(name[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{opacity})"
