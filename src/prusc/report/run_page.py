"""The report of one run: what stands on the page, in the order in which it stands there."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prusc.report.charts import (
    MAX_CHART_GROUPS,
    MAX_CHART_LAYERS,
    chart_densities,
    chart_groups,
    chart_layers,
    chart_losses,
    worst_groups,
)
from prusc.report.clusters import ClusterView, view_attention, view_clusters
from prusc.report.made import list_settings, repeat_command
from prusc.report.page import render_page
from prusc.report.record import RunRecord
from prusc.report.sample_map import MapKind, make_map
from prusc.report.text import TRAINED_ON_VALIDATION, group_key, group_name, groups_by_key, percent
from prusc.runs.result import FAMILY_TITLES
from prusc.stages.evaluation import GroupAccuracy, GroupEvaluation

# Below this an interval spans some 25 points, and a difference between two networks is hardly to be seen.
_FEW_SAMPLES = 50
# So many clusters are open when the page is opened.
NUM_OPEN_CLUSTERS = 4


@dataclass(frozen=True)
class GroupRow:
    """One group of the test split, in the order of the networks.

    Attributes:
        name: Class and attributes.
        num_samples: Its test samples.
        figures: Its figures by network; an empty group has none.
        before: Accuracy of the original network.
        after: Accuracy of the network that was handed back.
    """

    name: str
    num_samples: int
    figures: tuple[GroupAccuracy, ...]
    before: float | None
    after: float | None


def render_run(run: RunRecord, *, map_kind: MapKind = "pca") -> str:
    """Return the page of a run, finished or not.

    Args:
        run: What its folder holds.
        map_kind: How the map of the representations is made.
    """
    charts: dict[str, Any] = {}
    test = {network: splits["test"] for network, splits in run.evaluations.items()}
    if test:
        charts["chart-groups"] = chart_groups(test)
    if run.metrics.get("density_per_layer"):
        charts["chart-layers"] = chart_layers(run.metrics["density_per_layer"])
    if run.history is not None:
        charts["chart-losses"] = chart_losses(run.history)
        charts["chart-densities"] = chart_densities(run.history)
    clusters = view_clusters(run)
    sample_map = make_map(run, map_kind)
    return render_page(
        "run.html",
        charts=charts,
        data={"map": sample_map},
        title=f"{run.data_name}, {run.config.model}, seed {run.config.seed}",
        run=run,
        network_titles=[FAMILY_TITLES[network] for network in test],
        judge=run.metrics.get("judged_by", "cells"),
        chosen=run.metrics.get("chosen", {}).get("subnetwork"),
        headline=headline(run),
        test=test,
        group_rows=group_rows(test),
        num_hidden_groups=max(0, len(worst_groups(test["erm"])) - MAX_CHART_GROUPS) if test else 0,
        num_hidden_layers=max(0, len(run.metrics.get("density_per_layer", ())) - MAX_CHART_LAYERS),
        clusters=clusters,
        num_open_clusters=NUM_OPEN_CLUSTERS,
        num_missing_pictures=num_missing_pictures(clusters),
        sample_map=sample_map,
        attention=view_attention(run),
        notes=notes(run, clusters),
        settings=list_settings(run.config),
        command=repeat_command(run, "run"),
    )


def headline(run: RunRecord) -> str:
    """Return the verdict in one sentence."""
    if not run.is_finished:
        return "This run is not finished: there is no verdict yet."
    before, after = (run.evaluations[name]["test"] for name in ("erm", "subnetwork"))
    if run.remedy or run.metrics["verdict"] == "improved":
        return (
            f"{run.remedy or 'A better network was found'}: on the test split, accuracy on the worst group "
            f"{_change(before.worst_group_accuracy, after.worst_group_accuracy)}, the average "
            f"{_change(before.average_accuracy, after.average_accuracy)}."
        )
    why = {
        "no-shortcut": "the original network shows no shortcut that these data contradict",
        "shortcut-only": (
            "the original network fails on some cells, and nothing serves them that does not cost as much elsewhere"
        ),
    }.get(run.metrics["verdict"], str(run.metrics["verdict_text"]))
    worst = percent(before.worst_group_accuracy)
    return f"Nothing better was found: {why}. The result is the original network, worst group {worst}."


def _change(before: float, after: float) -> str:
    word = "rose" if after > before else "fell" if after < before else "stayed"
    return f"{word} from {percent(before)} to {percent(after)}" if after != before else f"{word} at {percent(after)}"


def group_rows(test: Mapping[str, GroupEvaluation]) -> list[GroupRow]:
    """Return the groups of the test split, the worst before first, the empty ones last."""
    if not test:
        return []
    empty = [group for group in test["erm"].groups if group.accuracy is None]
    of_network = [groups_by_key(evaluation) for evaluation in test.values()]
    after = groups_by_key(test["subnetwork"])
    return [
        GroupRow(
            name=group_name(group),
            num_samples=group.num_samples,
            figures=tuple(groups[group_key(group)] for groups in of_network),
            before=group.accuracy,
            after=after[group_key(group)].accuracy,
        )
        for group in [*worst_groups(test["erm"]), *empty]
    ]


def num_missing_pictures(clusters: list[ClusterView]) -> tuple[int, int]:
    """Return how many pictures of the clusters are missing, and of how many."""
    shown = [portrait for cluster in clusters for portrait in (*cluster.typical, *cluster.contradicting)]
    return sum(not portrait.address for portrait in shown), len(shown)


def notes(run: RunRecord, clusters: list[ClusterView]) -> list[str]:
    """Return what a reader should know before believing the figures."""
    found = []
    if run.is_finished:
        test = run.evaluations["subnetwork"]["test"]
        worst = [run.evaluations[name]["test"].worst_group for name in ("erm", "subnetwork")]
        small = sorted({(group.num_samples, group_name(group)) for group in worst if group.num_samples < _FEW_SAMPLES})
        for num_samples, name in small:
            found.append(
                f"The worst group ({name}) has {num_samples} test samples: its accuracy is known roughly only."
            )
        if not run.metrics["data"].get("attributes"):
            found.append(
                "No attributes are known for these data: the groups are the classes, and a shortcut inside a class "
                "does not show in their accuracies. The clusters may show it."
            )
        num_empty = sum(group.num_samples == 0 for group in test.groups)
        if num_empty:
            found.append(f"{num_empty} of {len(test.groups)} groups have no test samples and no figures.")
        if run.metrics["verdict"] == "improved":
            before, after = (run.evaluations[name]["test"].worst_group_ci95 for name in ("erm", "subnetwork"))
            if before[1] >= after[0]:
                found.append("The intervals of the worst group before and after overlap: the gain may be chance.")
        structure = run.metrics.get("cluster_structure")
        if structure == "weak":
            found.append("The clusters hardly stand apart (weak structure): they say little about shortcuts.")
        if run.metrics.get("trains_on_validation"):
            found.append(TRAINED_ON_VALIDATION)
    if run.remedy:
        return found
    if clusters and run.is_finished and run.tested is None:
        found.append("No cluster is called suspect: an older prusc made this run, and did not test the clusters.")
    elif clusters and run.is_finished and not any(cluster.is_suspect for cluster in clusters):
        found.append("No cluster is suspect: within none does the original network fail the samples of other classes.")
    return found
