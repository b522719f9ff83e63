"""The clusters of a run or an audit, suspects first, with pictures of their main class and of other classes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from prusc.report.pictures import Portrait, make_portrait
from prusc.report.record import RunRecord
from prusc.stages.audit.clusters import ClusterAudit
from prusc.stages.evaluation import wilson_interval
from prusc.stages.selection.scores import CellAccuracy


@dataclass(frozen=True)
class Side:
    """The validation samples of a cluster's main class, or those of all its other classes.

    Attributes:
        num_samples: Number of samples; in a run, only samples that judged count.
        before: Accuracy of the ERM network in [0, 1]; ``None`` without samples.
        before_ci95: Its 95 % Wilson interval.
        after: Accuracy of the chosen network; ``None`` if there is none.
    """

    num_samples: int
    before: float | None
    before_ci95: tuple[float, float] | None
    after: float | None


@dataclass(frozen=True)
class ClusterView:
    """One cluster.

    Attributes:
        cluster: Its number.
        main_class: Name of its main class.
        classes: Name, number of training samples and number of validation samples of each class, most frequent first.
        num_train: Number of training samples.
        num_val: Number of validation samples.
        main: Validation samples of the main class.
        others: Validation samples of the other classes.
        tested: Result of the test for a shortcut; ``None`` if it was not tested.
        typical: Samples of the main class that are nearest to the centre.
        contradicting: Samples of the other classes that are nearest to the centre.
    """

    cluster: int
    main_class: str
    classes: tuple[tuple[str, int, int], ...]
    num_train: int
    num_val: int
    main: Side
    others: Side
    tested: ClusterAudit | None
    typical: tuple[Portrait, ...]
    contradicting: tuple[Portrait, ...]

    @property
    def is_suspect(self) -> bool:
        """Whether the network may follow what the samples of the cluster have in common instead of the class."""
        return self.tested is not None and self.tested.is_suspect


def view_clusters(run: RunRecord) -> list[ClusterView]:
    """Return the clusters in the order of the audit: suspects first."""
    cells: dict[int, list[CellAccuracy]] = {
        cluster: list(members) for cluster, members in groupby(run.cells, key=lambda cell: cell.cluster)
    }
    tested = {cluster.cluster: cluster for cluster in run.tested or ()}
    ids = {*cells, *tested}
    if run.clusters is not None:
        ids |= set(run.clusters["cluster_assign"].unique().tolist())
    order = [*tested, *sorted(ids - tested.keys())]
    return [_view(cluster, cells.get(cluster, []), tested.get(cluster), run) for cluster in order]


def _view(cluster: int, cells: list[CellAccuracy], tested: ClusterAudit | None, run: RunRecord) -> ClusterView:
    names = run.class_names
    counts = _count_classes(cluster, cells, tested, run)
    order = sorted(counts, key=lambda label: (-counts[label][1], -counts[label][0], label))
    main_label = tested.main_label if tested is not None else cells[0].label if cells else order[0]
    if cells or tested is None:
        is_main = [cell.label == main_label for cell in cells]
        main, others = (
            _side([cell for cell, inside in zip(cells, is_main, strict=True) if inside is wanted])
            for wanted in (True, False)
        )
    else:
        main, others = _audited_sides(tested)
    typical, contradicting = _portraits(cluster, main_label, run, names)
    return ClusterView(
        cluster=cluster,
        main_class=names[main_label],
        classes=tuple((names[label], *counts[label]) for label in order),
        num_train=sum(train for train, _ in counts.values()),
        num_val=sum(val for _, val in counts.values()),
        main=main,
        others=others,
        tested=tested,
        typical=typical,
        contradicting=contradicting,
    )


def _count_classes(
    cluster: int, cells: list[CellAccuracy], tested: ClusterAudit | None, run: RunRecord
) -> dict[int, tuple[int, int]]:
    """Return the numbers of training and validation samples of each class."""
    if run.clusters is None and tested is not None:
        return {label: (0, num) for label, num in enumerate(tested.class_counts) if num}
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
    return Side(num, before, wilson_interval(round(num * before), num), after)


def _audited_sides(tested: ClusterAudit) -> tuple[Side, Side]:
    """Return both sides of a cluster in an audit, which has one network only."""
    num_all, num_others = sum(tested.class_counts), tested.num_others
    right_others = round(num_others * (tested.others_accuracy or 0.0))
    right_main, num_main = round(num_all * tested.accuracy) - right_others, num_all - num_others
    main = Side(num_main, right_main / num_main, wilson_interval(right_main, num_main), None)
    return main, Side(num_others, tested.others_accuracy, tested.others_ci95, None)


def _portraits(
    cluster: int, main_label: int, run: RunRecord, names: Sequence[str]
) -> tuple[tuple[Portrait, ...], tuple[Portrait, ...]]:
    samples = run.samples
    if samples is None:
        return (), ()
    members = samples.table[(samples.table["cluster"] == cluster) & (samples.table["picture"] >= 0)]
    members = members.sort_values("similarity", ascending=False, kind="stable")
    is_main = members["label"] == main_label
    typical, contradicting = (
        tuple(make_portrait(row, names, samples) for _, row in members[inside].head(samples.per_side).iterrows())
        for inside in (is_main, ~is_main)
    )
    return typical, contradicting


def view_attention(run: RunRecord) -> list[Portrait]:
    """Return the samples with Grad-CAM in the order of the run: those that contradict their cluster first."""
    if run.samples is None or not run.samples.attention:
        return []
    table = run.samples.table[run.samples.table["attention"] >= 0].sort_values("attention")
    return [make_portrait(row, run.class_names, run.samples) for _, row in table.iterrows()]
