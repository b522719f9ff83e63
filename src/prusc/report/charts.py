"""The charts of a report as Plotly figures, one function per chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go

from prusc.report.text import group_key, group_name, groups_by_key, interval, percent, plain
from prusc.runs.result import FAMILY_TITLES
from prusc.stages.evaluation import GroupAccuracy, GroupEvaluation

# The palette of Okabe and Ito is safe for colour-blind readers; series to compare also differ by symbol.
BEFORE, AFTER, CONTROL = "#d55e00", "#0072b2", "#767676"
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#b98200", "#8c6bb1", "#767676")
NETWORK_STYLES = {
    "erm": (BEFORE, "circle"),
    "last_layer": (CONTROL, "diamond-open"),
    "finetune_all": (CONTROL, "triangle-up-open"),
    "subnetwork": (AFTER, "square"),
}
# A chart with more rows is unreadable; the table below it has all of them.
MAX_CHART_GROUPS = 40
MAX_CHART_LAYERS = 80
_MAX_LINES = 8


def worst_groups(evaluation: GroupEvaluation) -> list[GroupAccuracy]:
    """Return the groups that have samples, in ascending order of accuracy."""
    filled = [group for group in evaluation.groups if group.accuracy is not None]
    return sorted(filled, key=lambda group: group.accuracy or 0.0)


def chart_groups(evaluations: Mapping[str, GroupEvaluation]) -> go.Figure:
    """Draw the accuracy of each group with its interval, by network, the worst group of the ERM network on top.

    Args:
        evaluations: Results on one split by network, with the ERM network first.

    Returns:
        A figure with one series per network.
    """
    shown = worst_groups(evaluations["erm"])[:MAX_CHART_GROUPS]
    figure = go.Figure()
    for number, (family, evaluation) in enumerate(evaluations.items()):
        colour, symbol = NETWORK_STYLES[family]
        offset = 0.17 * (number - (len(evaluations) - 1) / 2)
        of_group = groups_by_key(evaluation)
        own = [(row, of_group[group_key(group)]) for row, group in enumerate(shown)]
        accuracies = [100 * (group.accuracy or 0.0) for _, group in own]
        limits = [group.ci95 or (0.0, 0.0) for _, group in own]
        figure.add_scatter(
            x=accuracies,
            y=[row + offset for row, _ in own],
            mode="markers",
            cliponaxis=False,
            name=plain(FAMILY_TITLES[family]),
            marker={"color": colour, "symbol": symbol, "size": 10},
            error_x={
                "array": [100 * high - value for value, (_, high) in zip(accuracies, limits, strict=True)],
                "arrayminus": [value - 100 * low for value, (low, _) in zip(accuracies, limits, strict=True)],
                "color": colour,
                "thickness": 1.5,
                "width": 3,
            },
            text=[
                f"{plain(group_name(group), 80)}<br>{plain(FAMILY_TITLES[family])}: {percent(group.accuracy)}"
                f"<br>95 % interval {interval(group.ci95)}<br>n = {group.num_samples}"
                for _, group in own
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    names = [f"{plain(group_name(group), 26)} ({group.num_samples})" for group in shown]
    lay_out(figure, height=110 + 40 * len(shown), x_title="accuracy in %")
    figure.update_xaxes(range=[-1, 101], dtick=20)
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5])
    return figure


def chart_layers(density_per_layer: Mapping[str, float]) -> go.Figure:
    """Draw the share of weights kept in each layer, from the input to the head."""
    shown = list(density_per_layer.items())[:MAX_CHART_LAYERS]
    names = [plain(name, 34) for name, _ in shown]
    figure = go.Figure()
    figure.add_bar(
        x=[100 * density for _, density in shown],
        y=list(range(len(shown))),
        orientation="h",
        marker={"color": AFTER},
        text=[f"{plain(name, 80)}<br>{percent(density)} kept" for name, density in shown],
        textposition="none",
        hovertemplate="%{text}<extra></extra>",
        showlegend=False,
    )
    lay_out(figure, height=80 + 24 * max(len(shown), 3), x_title="weights kept, in %")
    figure.update_xaxes(range=[0, 100])
    figure.update_yaxes(tickvals=list(range(len(names))), ticktext=names, range=[len(names) - 0.5, -0.5])
    return figure


def chart_losses(history: pd.DataFrame) -> go.Figure:
    """Draw the losses of mask learning by step."""
    figure = go.Figure()
    for column, name, colour, dash in (
        ("cross_entropy", "cross-entropy", PALETTE[0], "solid"),
        ("contrastive", "contrastive loss", PALETTE[1], "dash"),
    ):
        figure.add_scatter(
            x=history["step"], y=history[column], mode="lines", name=name, line={"color": colour, "dash": dash}
        )
    lay_out(figure, height=320, x_title="step of mask learning", y_title="mean loss, in nats")
    figure.update_yaxes(rangemode="tozero")
    return figure


def chart_densities(history: pd.DataFrame) -> go.Figure:
    """Draw the share of weights kept by step, in total and for at most 8 layers."""
    figure = go.Figure()
    layers = [str(name) for name in history if str(name).startswith("density/")]
    # Of many layers, draw some that are evenly spaced from the first to the last.
    chosen = [layers[round(index)] for index in _spread(len(layers), _MAX_LINES)]
    figure.add_scatter(
        x=history["step"],
        y=100 * history["density"],
        mode="lines",
        name="all layers",
        line={"color": AFTER, "width": 4},
    )
    for number, column in enumerate(chosen):
        line = {
            "color": PALETTE[(number + 1) % len(PALETTE)],
            "width": 1.5,
            "dash": ("dot", "dash", "solid")[number % 3],
        }
        name = plain(column.removeprefix("density/"), 24)
        figure.add_scatter(x=history["step"], y=100 * history[column], mode="lines", name=name, line=line)
    lay_out(figure, height=320, x_title="step of mask learning", y_title="weights kept, in %")
    figure.update_yaxes(range=[0, 102])
    return figure


def chart_flops(candidates: pd.DataFrame) -> go.Figure:
    """Draw score and average accuracy of the candidates on the validation split against their operations.

    Args:
        candidates: One row per candidate network, with the column ``flops``.
    """
    figure = go.Figure()
    for name, column, colour, symbol in (
        ("score", "score", AFTER, "square"),
        ("average accuracy", "val_average_accuracy", BEFORE, "circle"),
    ):
        figure.add_scatter(
            x=100 * candidates["flops"],
            y=100 * candidates[column],
            mode="markers",
            name=name,
            marker={"color": colour, "symbol": symbol, "size": 9},
            text=[plain(str(own), 60) for own in candidates["name"]],
            hovertemplate="%{text}<br>%{x:.0f} % of the operations: %{y:.1f} %<extra></extra>",
        )
    lay_out(figure, height=320, x_title="operations, in % of the ERM network", y_title="on the validation split, in %")
    figure.update_xaxes(range=[0, 104])
    return figure


def _spread(num_items: int, most: int) -> list[float]:
    if num_items <= most:
        return list(range(num_items))
    return [index * (num_items - 1) / (most - 1) for index in range(most)]


@dataclass(frozen=True)
class Rating:
    """One network of one run, in a chart that compares several.

    Attributes:
        series: Title of its series, such as "ERM network".
        name: Name of the run.
        figures: Results on the test split.
        colour: Colour of the series.
        symbol: Plotly symbol of the series.
    """

    series: str
    name: str
    figures: GroupEvaluation
    colour: str
    symbol: str


def chart_ratings(ratings: Sequence[Rating]) -> go.Figure:
    """Draw worst-group accuracy with its interval against average accuracy."""
    figure = go.Figure()
    for series in dict.fromkeys(rating.series for rating in ratings):
        own = [rating for rating in ratings if rating.series == series]
        worst = [100 * rating.figures.worst_group_accuracy for rating in own]
        limits = [rating.figures.worst_group_ci95 for rating in own]
        figure.add_scatter(
            x=[100 * rating.figures.average_accuracy for rating in own],
            y=worst,
            mode="markers",
            cliponaxis=False,
            name=plain(series),
            marker={"color": own[0].colour, "symbol": own[0].symbol, "size": 11},
            error_y={
                "array": [100 * high - value for value, (_, high) in zip(worst, limits, strict=True)],
                "arrayminus": [value - 100 * low for value, (low, _) in zip(worst, limits, strict=True)],
                "color": own[0].colour,
                "thickness": 1.5,
                "width": 4,
            },
            text=[
                f"{plain(rating.name, 60)}<br>{plain(series)}"
                f"<br>worst group {percent(rating.figures.worst_group_accuracy)}, 95 % interval "
                f"{interval(rating.figures.worst_group_ci95)}<br>n = {rating.figures.worst_group.num_samples}"
                f"<br>average {percent(rating.figures.average_accuracy)} (n = {rating.figures.num_samples})"
                for rating in own
            ],
            hovertemplate="%{text}<extra></extra>",
        )
    lay_out(figure, height=460, x_title="average accuracy in %", y_title="worst group in %, 95 % interval")
    figure.update_yaxes(range=[-1, 101])
    return figure


def lay_out(figure: go.Figure, *, height: int, x_title: str, y_title: str = "") -> None:
    """Apply the common layout; the style of the page sets the colours of text and lines."""
    figure.update_layout(
        template="none",
        height=height,
        margin={"l": 8, "r": 12, "t": 8, "b": 44},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        font={"family": "system-ui, sans-serif", "size": 13},
        legend={"orientation": "h", "x": 0, "y": 1.0, "xanchor": "left", "yanchor": "bottom"},
        hovermode="closest",
        dragmode=False,
    )
    figure.update_xaxes(title=x_title, zeroline=False, fixedrange=True, automargin=True)
    figure.update_yaxes(title=y_title, zeroline=False, fixedrange=True, automargin=True)
