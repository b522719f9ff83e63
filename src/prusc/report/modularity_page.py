"""The report of masks of functions: the content of the page, in the order of the page."""

from dataclasses import dataclass

import plotly.graph_objects as go

from prusc.report.heat_maps import chart_heat_map
from prusc.report.made import list_settings, repeat_command
from prusc.report.modularity_record import ModularityRecord
from prusc.report.page import render_page
from prusc.report.text import interval, percent, plain
from prusc.stages.modularity.accuracy import MaskedAccuracy
from prusc.stages.modularity.class_removal import ClassRemoval, RemovedClass
from prusc.stages.modularity.comparison import ALL_LAYERS, Overlap, mean_iou

# A page with more charts or rows is unreadable; the tables in the folder have all of them.
MAX_FUNCTIONS, MAX_LAYERS = 24, 60
_MAX_CONFUSIONS = 12


@dataclass(frozen=True)
class FunctionRow:
    """One function.

    Attributes:
        name: Its name.
        num_train: Samples that its mask learned from.
        num_test: Samples that it was tested on.
        density: Share of the weights that its mask keeps.
        overlaps: Its overlaps with the other functions, without the control's.
        same: Its overlap with itself, under another seed.
    """

    name: str
    num_train: int
    num_test: int
    density: float
    overlaps: tuple[Overlap, ...]
    same: Overlap

    @property
    def lowest(self) -> Overlap:
        """The overlap with the function that it shares least with."""
        return min(self.overlaps, key=lambda overlap: overlap.iou)

    @property
    def highest(self) -> Overlap:
        """The overlap with the function that it shares most with."""
        return max(self.overlaps, key=lambda overlap: overlap.iou)

    def other(self, overlap: Overlap) -> str:
        """Return the name of the other function of an overlap."""
        return overlap.second if overlap.first == self.name else overlap.first


@dataclass(frozen=True)
class LayerRow:
    """One layer.

    Attributes:
        layer: Name of the parameter.
        different: Mean IoU of different functions, the control left out.
        different_ci95: Its 95 % interval.
        lowest: The lowest of these.
        highest: The highest of these.
        same: Mean IoU of two seeds of one function.
        same_ci95: Its 95 % interval.
    """

    layer: str
    different: float
    different_ci95: tuple[float, float]
    lowest: Overlap
    highest: Overlap
    same: float
    same_ci95: tuple[float, float]


def render_modularity(record: ModularityRecord) -> str:
    """Return the page.

    Args:
        record: Content of the folder.

    Returns:
        HTML.
    """
    functions, layers = list_functions(record), list_layers(record)
    charts = {"chart-accuracies": _draw_accuracies(record), "chart-overlaps": _draw_overlaps(record)}
    charts |= {"chart-different": _draw_layers(record, "different"), "chart-same": _draw_layers(record, "same")}
    removal = record.removal
    if removal is not None:
        shown = removal.removed[:_MAX_CONFUSIONS]
        charts |= {f"chart-removal-{index}": _draw_change(record, entry) for index, entry in enumerate(shown)}
    masks = list(dict.fromkeys(entry.mask for entry in record.accuracies.entries))
    tested = list(dict.fromkeys(entry.function for entry in record.accuracies.entries))
    return render_page(
        "modularity.html",
        charts=charts,
        data={"map": None},
        title=f"Functions of {record.config.model} on {record.outcome['data']['name']}, seed {record.config.seed}",
        run=record,
        headline=headline(record),
        functions=functions,
        layers=layers,
        all_layers=next(row for row in layers if row.layer == ALL_LAYERS),
        masks=masks,
        tested=tested,
        rows=[(mask, [record.accuracies.get(mask, name) for name in tested]) for mask in masks],
        removal=removal,
        mean_drop=None if removal is None else _mean_drop(removal),
        names=record.names[:MAX_FUNCTIONS],
        num_shown=min(MAX_FUNCTIONS, len(record.names)),
        max_functions=MAX_FUNCTIONS,
        max_layers=MAX_LAYERS,
        max_confusions=_MAX_CONFUSIONS,
        settings=list_settings(record.config),
        command=repeat_command(record, "modularity"),
    )


def headline(record: ModularityRecord) -> str:
    """Return what was found, in one sentence."""
    if record.removal is not None:
        worst = max(record.removal.removed, key=lambda entry: entry.other_drop)
        drop, _ = _mean_drop(record.removal)
        return (
            f"A removed class loses {percent(drop, 0)} of its accuracy on average; another class loses at most "
            f"{percent(max(worst.other_drop, 0.0), 0)}."
        )
    row = next(row for row in list_layers(record) if row.layer == ALL_LAYERS)
    return (
        f"Masks of different functions have {percent(row.different, 0)} of their weights in common; two masks of one "
        f"function, {percent(row.same, 0)}."
    )


def list_functions(record: ModularityRecord) -> list[FunctionRow]:
    """Return the functions, with what they share over all layers."""
    control = record.outcome["control"]
    rows = []
    for function in record.outcome["functions"]:
        name = str(function["name"])
        others = [other for other in record.names if other not in (name, control)]
        overlaps = tuple(record.between(name, other) for other in others)
        figures = (int(function["num_train"]), int(function["num_test"]), float(function["density"]))
        rows.append(FunctionRow(name, *figures, overlaps, record.between(name, name)))
    return rows


def list_layers(record: ModularityRecord) -> list[LayerRow]:
    """Return the layers, from the input to the output, then all together; the control is left out."""
    control = record.outcome["control"]
    rows = []
    for layer in record.layers:
        different = [o for o in record.overlaps if o.layer == layer and control not in (o.first, o.second)]
        same = [o for o in record.stability if o.layer == layer and o.first != control]
        rows.append(
            LayerRow(
                layer,
                *mean_iou(different),
                min(different, key=lambda o: o.iou),
                max(different, key=lambda o: o.iou),
                *mean_iou(same),
            )
        )
    return rows


def _mean_drop(removal: ClassRemoval) -> tuple[float, tuple[float, float]]:
    """Return the mean relative drop of the removed classes; its limits are the means of the limits, as `mean_iou`."""
    num = len(removal.removed)
    low, high = (sum(entry.drop_ci95[side] for entry in removal.removed) / num for side in (0, 1))
    return sum(entry.drop for entry in removal.removed) / num, (low, high)


def _draw_accuracies(record: ModularityRecord) -> go.Figure:
    masks = list(dict.fromkeys(entry.mask for entry in record.accuracies.entries))[: MAX_FUNCTIONS + 1]
    tested = list(dict.fromkeys(entry.function for entry in record.accuracies.entries))[:MAX_FUNCTIONS]
    entries = [[record.accuracies.get(mask, name) for name in tested] for mask in masks]
    values = [[entry.accuracy for entry in row] for row in entries]
    return chart_heat_map(values, masks, tested, texts=[[_tell_accuracy(entry) for entry in row] for row in entries])


def _tell_accuracy(entry: MaskedAccuracy) -> str:
    return (
        f"mask: {plain(entry.mask, 60)}<br>samples: {plain(entry.function, 60)}<br>accuracy {percent(entry.accuracy)}, "
        f"95 % interval {interval(entry.ci95)}<br>n = {entry.num_samples}"
    )


def _draw_overlaps(record: ModularityRecord) -> go.Figure:
    names = record.names[:MAX_FUNCTIONS]
    found = [[record.between(first, second) for second in names] for first in names]
    values = [[overlap.iou for overlap in row] for row in found]
    return chart_heat_map(values, names, names, texts=[[_tell_overlap(overlap) for overlap in row] for row in found])


def _tell_overlap(overlap: Overlap) -> str:
    names = f"{plain(overlap.first, 50)}<br>{plain(overlap.second, 50)}"
    if overlap.first == overlap.second:
        names = f"two seeds of {plain(overlap.first, 50)}"
    return (
        f"{names}<br>{plain(overlap.layer, 60)}<br>IoU {percent(overlap.iou)}, 95 % interval "
        f"{interval(overlap.iou_ci95)}<br>subsetness {percent(overlap.subsetness)}"
    )


def _draw_layers(record: ModularityRecord, kind: str) -> go.Figure:
    """Draw layers by functions: the mean IoU with the other functions, or the IoU of two seeds."""
    control, layers = record.outcome["control"], [*record.layers[: MAX_LAYERS - 1]]
    if ALL_LAYERS not in layers:
        layers.append(ALL_LAYERS)
    names = [name for name in record.names if name != control][:MAX_FUNCTIONS]
    values, texts = [], []
    for layer in layers:
        row, told = [], []
        for name in names:
            if kind == "same":
                overlap = record.between(name, name, layer)
                row.append(overlap.iou)
                told.append(_tell_overlap(overlap))
            else:
                others = [record.between(name, other, layer).iou for other in names if other != name]
                row.append(sum(others) / len(others))
                told.append(
                    f"{plain(name, 60)} and the others<br>{plain(layer, 60)}<br>mean IoU {percent(row[-1])}<br>from "
                    f"{percent(min(others))} to {percent(max(others))}"
                )
        values.append(row)
        texts.append(told)
    return chart_heat_map(values, layers, names, texts=texts)


def _draw_change(record: ModularityRecord, entry: RemovedClass) -> go.Figure:
    """Draw how the predictions of each class change without one class, as shares of the samples of the class."""
    assert record.removal is not None
    names = record.removal.class_names
    values, texts = [], []
    for label, (before, after) in enumerate(zip(record.removal.before, entry.confusion, strict=True)):
        num = sum(before)
        values.append([(new - old) / num for old, new in zip(before, after, strict=True)])
        texts.append(
            [
                f"class {plain(names[label], 50)}<br>predicted {plain(names[column], 50)}<br>{old} to {new} of {num}"
                for column, (old, new) in enumerate(zip(before, after, strict=True))
            ]
        )
    return chart_heat_map(values, names, names, texts=texts, is_change=True)
