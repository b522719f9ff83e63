"""Figures of a run for papers and slides, as PNG and SVG."""

import io
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from prusc.errors import ConfigError
from prusc.report.charts import MAX_CHART_GROUPS, MAX_CHART_LAYERS, NETWORK_STYLES, PALETTE, worst_groups
from prusc.report.record import RunRecord
from prusc.report.sample_map import MapKind, make_map
from prusc.report.text import group_key, group_name, groups_by_key, short
from prusc.runs.result import FAMILY_TITLES
from prusc.runs.samples.exhibit import FAMILY_OF

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_MARKERS = {"circle": "o", "diamond-open": "D", "triangle-up-open": "^", "square": "s"}
_FORMATS: dict[str, dict[str, Any]] = {"png": {"dpi": 160}, "svg": {"metadata": {"Date": None}}}


def draw_figures(run: RunRecord, map_kind: MapKind = "pca") -> dict[str, bytes]:
    """Draw the groups, the map and the mask of a run.

    Args:
        run: Content of its folder; figures without data are left out.
        map_kind: Projection of the map of the representations.

    Returns:
        File contents by file name.

    Raises:
        ConfigError: If matplotlib is not installed.
    """
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise ConfigError(
            "figures need matplotlib, which is not installed; install it with: pip install 'prusc[figures]'"
        ) from error
    files: dict[str, bytes] = {}
    # Dollar signs in names are not formulas; a fixed salt makes the files reproducible.
    settings: Any = {"text.usetex": False, "text.parse_math": False, "svg.hashsalt": "prusc", "font.size": 9}
    with mpl.rc_context(settings), warnings.catch_warnings():
        # matplotlib draws a box for a letter that the font lacks.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        for name, figure in _figures(run, map_kind):
            for ending, options in _FORMATS.items():
                content = io.BytesIO()
                figure.savefig(content, format=ending, bbox_inches="tight", **options)
                files[f"{name}.{ending}"] = content.getvalue()
    return files


def _figures(run: RunRecord, map_kind: MapKind) -> Iterator[tuple[str, "Figure"]]:
    if run.is_finished:
        yield "groups", _draw_groups(run)
    if run.metrics.get("density_per_layer"):
        yield "layers", _draw_layers(run)
    if run.history is not None:
        yield "mask-learning", _draw_history(run)
    found = make_map(run, map_kind)
    if found is not None:
        yield "map", _draw_map(found)


def _new_figure(width: float, height: float, columns: int = 1) -> tuple["Figure", Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.subplots(1, columns, squeeze=False)[0]


def _draw_groups(run: RunRecord) -> "Figure":
    test = {network: splits["test"] for network, splits in run.evaluations.items()}
    shown = worst_groups(test["erm"])[:MAX_CHART_GROUPS]
    figure, (axes,) = _new_figure(6.5, 1.2 + 0.3 * len(shown))
    for number, (network, evaluation) in enumerate(test.items()):
        colour, symbol = NETWORK_STYLES[network]
        of_group = groups_by_key(evaluation)
        own = [of_group[group_key(group)] for group in shown]
        accuracies = np.array([group.accuracy for group in own], dtype=float)
        limits = np.array([group.ci95 for group in own], dtype=float).T
        # Rounding can put the end of a Wilson interval just inside an accuracy of 0 or 1.
        spread = np.clip([accuracies - limits[0], limits[1] - accuracies], 0, None)
        rows = np.arange(len(shown)) + 0.17 * (number - (len(test) - 1) / 2)
        marker = {"marker": _MARKERS[symbol], "fillstyle": "none" if "open" in symbol else "full"}
        label = FAMILY_TITLES[network]
        axes.errorbar(100 * accuracies, rows, xerr=100 * spread, fmt="none", color=colour, elinewidth=0.8, capsize=2)
        axes.plot(100 * accuracies, rows, linestyle="none", color=colour, markersize=5, label=label, **marker)
    axes.set_yticks(range(len(shown)), [f"{short(group_name(group))} ({group.num_samples})" for group in shown])
    axes.set(xlim=(0, 100), ylim=(len(shown) - 0.5, -0.5), xlabel="accuracy in %, 95 % interval (n in brackets)")
    axes.grid(axis="x", alpha=0.3)
    figure.legend(loc="outside upper center", ncols=2, frameon=False)
    return figure


def _draw_layers(run: RunRecord) -> "Figure":
    layers = list(run.metrics["density_per_layer"].items())[:MAX_CHART_LAYERS]
    figure, (axes,) = _new_figure(6.5, 0.8 + 0.2 * len(layers))
    axes.barh(range(len(layers)), [100 * density for _, density in layers], color=NETWORK_STYLES["subnetwork"][0])
    axes.set_yticks(range(len(layers)), [short(name) for name, _ in layers])
    axes.set(xlim=(0, 100), ylim=(len(layers) - 0.5, -0.5), xlabel="weights kept, in %")
    return figure


def _draw_history(run: RunRecord) -> "Figure":
    history = run.history
    assert history is not None
    figure, (losses, densities) = _new_figure(7.5, 2.8, columns=2)
    losses.plot(history["step"], history["cross_entropy"], color=PALETTE[0], label="cross-entropy")
    losses.plot(history["step"], history["contrastive"], color=PALETTE[1], linestyle="--", label="contrastive loss")
    losses.set(xlabel="step of mask learning", ylabel="mean loss, in nats", ylim=(0, None))
    losses.legend(frameon=False)
    densities.plot(history["step"], 100 * history["density"], color=PALETTE[0])
    densities.set(xlabel="step of mask learning", ylabel="weights kept, in %", ylim=(0, 102))
    return figure


def _draw_map(found: dict[str, Any]) -> "Figure":
    """Draw the map of each network, coloured by cluster."""
    colouring = found["colourings"][1]
    columns = len(found["points"])
    figure, axes = _new_figure(1.2 + 3.15 * columns, 3.8, columns=columns)
    codes = np.array(colouring["before"])
    for panel, (name, points) in zip(axes, found["points"].items(), strict=True):
        for value, title in enumerate(colouring["values"]):
            inside = codes == value
            x, y = (np.array(coordinates)[inside] for coordinates in points)
            colour = PALETTE[value % len(PALETTE)]
            panel.scatter(x, y, s=3, color=colour, linewidths=0, label=title, rasterized=True)
        panel.set(title=FAMILY_TITLES[FAMILY_OF[name]], xlabel=found["axes"][name][0], ylabel=found["axes"][name][1])
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, title=colouring["name"], loc="outside right upper", frameon=False, markerscale=3)
    return figure
