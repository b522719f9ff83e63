"""The clusters of a run, the suspects first, each with pictures of its typical samples and of the others in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from prusc.evaluation import wilson_interval
from prusc.report.pictures import Portrait, make_portrait
from prusc.report.record import RunRecord
from prusc.selection import CellAccuracy


@dataclass(frozen=True)
class Side:
    """The validation samples of a cluster's main class, or those of all its other classes.

    Attributes:
        num_samples: Of those that judged.
        before: Accuracy of the original network; ``None`` without samples.
        after: Accuracy of the network that was handed back.
        before_ci95: 95 % Wilson interval of the former.
    """

    num_samples: int
    before: float | None
    after: float | None
    before_ci95: tuple[float, float] | None


@dataclass(frozen=True)
class ClusterView:
    """One cluster.

    Attributes:
        cluster: Its number.
        main_class: Name of the class that most of its validation samples have.
        classes: Name, training samples and validation samples of each class in it, the most frequent first.
        num_train: Its training samples.
        num_val: Its validation samples.
        main: Those of the main class that judged.
        others: Those of the other classes that judged.
        typical: Samples of the main class that are nearest to the centre.
        contradicting: Samples of the other classes that are.
    """

    cluster: int
    main_class: str
    classes: tuple[tuple[str, int, int], ...]
    num_train: int
    num_val: int
    main: Side
    others: Side
    typical: tuple[Portrait, ...]
    contradicting: tuple[Portrait, ...]

    @property
    def gap(self) -> float:
        """By how much the original network does worse on the others, at least: the distance between both intervals.

        Negative where they overlap, -1 where one of the two has no samples.
        """
        if self.main.before_ci95 is None or self.others.before_ci95 is None:
            return -1.0
        return self.main.before_ci95[0] - self.others.before_ci95[1]

    @property
    def is_suspect(self) -> bool:
        """Whether the network may follow what the cluster has in common instead of the class."""
        return self.gap > 0


def view_clusters(run: RunRecord) -> list[ClusterView]:
    """Return the clusters, those with the widest gap between their main class and the others first."""
    names = run.class_names
    found: dict[int, list[CellAccuracy]] = {
        cluster: list(cells) for cluster, cells in groupby(run.cells, key=lambda cell: cell.cluster)
    }
    ids = set(found)
    if run.clusters is not None:
        ids |= set(run.clusters["cluster_assign"].unique().tolist())
    views = [_view(cluster, found.get(cluster, []), run, names) for cluster in sorted(ids)]
    return sorted(views, key=lambda view: (-view.gap, view.cluster))


def _view(cluster: int, cells: list[CellAccuracy], run: RunRecord, names: Sequence[str]) -> ClusterView:
    counts = _count_classes(cluster, cells, run)
    order = sorted(counts, key=lambda label: (-counts[label][1], -counts[label][0], label))
    main_label = cells[0].label if cells else order[0]
    main, others = _side(cells[:1]), _side(cells[1:])
    typical, contradicting = _portraits(cluster, main_label, run, names)
    return ClusterView(
        cluster=cluster,
        main_class=names[main_label],
        classes=tuple((names[label], *counts[label]) for label in order),
        num_train=sum(train for train, _ in counts.values()),
        num_val=sum(val for _, val in counts.values()),
        main=main,
        others=others,
        typical=typical,
        contradicting=contradicting,
    )


def _count_classes(cluster: int, cells: list[CellAccuracy], run: RunRecord) -> dict[int, tuple[int, int]]:
    """Return the training and the validation samples of each class."""
    if run.clusters is None:
        return {cell.label: (0, cell.num_samples) for cell in cells}
    members = run.clusters[run.clusters["cluster_assign"] == cluster]
    train, val = (members[members["split"] == split]["label"].value_counts() for split in ("train", "val"))
    labels = sorted({*train.index.tolist(), *val.index.tolist()})
    return {label: (int(train.get(label, 0)), int(val.get(label, 0))) for label in labels}


def _side(cells: Sequence[CellAccuracy]) -> Side:
    num = sum(cell.num_samples for cell in cells)
    if num == 0:
        return Side(0, None, None, None)
    before, after = (
        sum(cell.num_samples * value for cell, value in zip(cells, values, strict=True)) / num
        for values in ([cell.before for cell in cells], [cell.after for cell in cells])
    )
    return Side(num, before, after, wilson_interval(round(num * before), num))


def _portraits(
    cluster: int, main_label: int, run: RunRecord, names: Sequence[str]
) -> tuple[tuple[Portrait, ...], tuple[Portrait, ...]]:
    samples = run.samples
    if samples is None:
        return (), ()
    members = samples.table[(samples.table["cluster"] == cluster) & (samples.table["picture"] >= 0)]
    # The run gave positions in the order in which it found the samples: the nearest to the centre first.
    members = members.sort_values("picture")
    is_main = members["label"] == main_label
    typical, contradicting = (
        tuple(make_portrait(row, names, samples) for _, row in members[inside].iterrows())
        for inside in (is_main, ~is_main)
    )
    return typical, contradicting


def view_attention(run: RunRecord) -> list[Portrait]:
    """Return the samples with Grad-CAM as the run ordered them: those that contradict their cluster first."""
    if run.samples is None or not run.samples.attention:
        return []
    table = run.samples.table[run.samples.table["attention"] >= 0].sort_values("attention")
    return [make_portrait(row, run.class_names, run.samples) for _, row in table.iterrows()]
