"""The report of one run: the content of the page, in the order of the page."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prusc.report.charts import (
    MAX_CHART_GROUPS,
    MAX_CHART_LAYERS,
    chart_densities,
    chart_flops,
    chart_groups,
    chart_layers,
    chart_losses,
    worst_groups,
)
from prusc.report.clusters import ClusterView, view_attention, view_clusters
from prusc.report.gallery import make_gallery
from prusc.report.group_gap import describe_group_gap
from prusc.report.made import list_settings, repeat_command
from prusc.report.names import list_probes, view_names, warn_of_probes
from prusc.report.next_steps import list_next_steps
from prusc.report.page import render_page
from prusc.report.record import RunRecord
from prusc.report.sample_map import MapKind, make_map
from prusc.report.text import TRAINED_ON_VALIDATION, group_key, group_name, groups_by_key, percent
from prusc.runs.artifacts import evidence_from_dict
from prusc.runs.result import FAMILY_TITLES
from prusc.stages.evaluation import GroupAccuracy, GroupEvaluation
from prusc.stages.evidence import clear_evidence, describe_evidence
from prusc.stages.selection.verdict import describe_doubt

# Below this size, an interval spans some 25 points and hides most differences between two networks.
_FEW_SAMPLES = 50
# Number of clusters whose details are open at first.
NUM_OPEN_CLUSTERS = 4


@dataclass(frozen=True)
class GroupRow:
    """One group of the test split.

    Attributes:
        name: Class and attributes.
        num_samples: Number of test samples.
        figures: Result of each network; without accuracy if the group is empty.
        before: Accuracy of the ERM network; ``None`` if the group is empty.
        after: Accuracy of the chosen network; ``None`` if the group is empty.
    """

    name: str
    num_samples: int
    figures: tuple[GroupAccuracy, ...]
    before: float | None
    after: float | None


def render_run(run: RunRecord, *, map_kind: MapKind = "pca") -> str:
    """Return the page of a run, finished or not.

    Args:
        run: Content of its folder.
        map_kind: Projection of the map of the representations.

    Returns:
        HTML.
    """
    charts: dict[str, Any] = {}
    test = {network: splits["test"] for network, splits in run.evaluations.items()}
    if test:
        charts["chart-groups"] = chart_groups(test)
    if shows_layers(run):
        charts["chart-layers"] = chart_layers(run.metrics["density_per_layer"])
    # A single step has no course.
    if run.history is not None and len(run.history) > 1:
        charts["chart-losses"] = chart_losses(run.history)
        charts["chart-densities"] = chart_densities(run.history)
    if run.candidates is not None and "flops" in run.candidates:
        charts["chart-flops"] = chart_flops(run.candidates)
    clusters = view_clusters(run)
    sample_map = make_map(run, map_kind)
    gallery = make_gallery(run, with_sheets=sample_map is None)
    return render_page(
        "run.html",
        charts=charts,
        data={"map": sample_map, "gallery": None if gallery is None else gallery.data},
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
        words=run.words,
        num_open_clusters=NUM_OPEN_CLUSTERS,
        num_missing_pictures=num_missing_pictures(clusters),
        names=view_names(run),
        probes=list_probes(run),
        gallery=gallery,
        sample_map=sample_map,
        attention=view_attention(run),
        notes=notes(run, clusters),
        settings=list_settings(run.config),
        command=repeat_command(run, "run"),
        next_steps=list_next_steps(run),
    )


def shows_layers(run: RunRecord) -> bool:
    """Whether a chart of the layers says anything: not if every layer keeps all its weights."""
    return any(density < 1 for density in run.metrics.get("density_per_layer", {}).values())


def headline(run: RunRecord) -> str:
    """Return the verdict in one or two sentences."""
    if not run.is_finished:
        return "This run is not finished, so there is no verdict yet."
    before, after = (run.evaluations[name]["test"] for name in ("erm", "subnetwork"))
    if run.remedy or run.metrics["verdict"] in ("improved", "unproven"):
        return (
            f"{_lead(run, before, after)} the test split, worst-group accuracy "
            f"{_change(before.worst_group_accuracy, after.worst_group_accuracy)} and average accuracy "
            f"{_change(before.average_accuracy, after.average_accuracy)}."
        )
    if run.metrics["verdict"] == "within-budget":
        return (
            f"No network within the budget is better than the ERM network. With {percent(run.metrics['flops'])} of its "
            f"operations, worst-group accuracy {_change(before.worst_group_accuracy, after.worst_group_accuracy)} and "
            f"average accuracy {_change(before.average_accuracy, after.average_accuracy)}."
        )
    why = {
        "nothing-better": (
            "the ERM network fails on a part of the validation split, but no candidate is better beyond chance"
        ),
        "no-evidence": (
            "without group labels, nothing in the validation split shows that the ERM network relies on a shortcut"
        ),
    }.get(run.metrics["verdict"], str(run.metrics["verdict_text"]))
    worst = percent(before.worst_group_accuracy)
    return f"prusc found no better network: {why}. The result is the ERM network, with worst-group accuracy {worst}."


def _lead(run: RunRecord, before: GroupEvaluation, after: GroupEvaluation) -> str:
    if run.remedy:
        return f"{run.remedy}: on"
    if run.metrics["verdict"] == "unproven":
        return "The validation split does not prove that the chosen network is better. On"
    if not describe_doubt("improved", before.worst_group_accuracy, after.worst_group_accuracy):
        return "prusc found a better network. On"
    # The verdict rests on the validation split, and the test split may say otherwise.
    return (
        "prusc chose a network that is better on held-out predictions for the validation split, which the test split "
        "does not confirm. On"
    )


def _change(before: float, after: float) -> str:
    word = "rose" if after > before else "fell" if after < before else "stayed"
    return f"{word} from {percent(before)} to {percent(after)}" if after != before else f"{word} at {percent(after)}"


def group_rows(test: Mapping[str, GroupEvaluation]) -> list[GroupRow]:
    """Return the groups of the test split, the worst group of the ERM network first, empty groups last."""
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
    """Return the number of missing pictures of the clusters, and the number of all."""
    shown = [portrait for cluster in clusters for portrait in (*cluster.typical, *cluster.contradicting)]
    return sum(not portrait.address for portrait in shown), len(shown)


def _doubts(run: RunRecord) -> list[str]:
    """Return what speaks against the gain of the chosen network, or against keeping the ERM network."""
    erm, test = (run.evaluations[name]["test"] for name in ("erm", "subnetwork"))
    if run.metrics["verdict"] == "unproven":
        return [
            "The chosen network is a bet, not a proven improvement. More validation images that conflict with the "
            "pseudo-attribute could prove it."
        ]
    if run.metrics["verdict"] == "improved":
        overlap = erm.worst_group_ci95[1] >= test.worst_group_ci95[0]
        if overlap and test.worst_group_accuracy > erm.worst_group_accuracy:
            return ["The worst-group intervals of the two networks overlap, so the gain may be chance."]
        return []
    gap = "" if run.remedy else describe_group_gap(erm)
    return [gap] if gap else []


def notes(run: RunRecord, clusters: list[ClusterView]) -> list[str]:
    """Return the limits of the results, a paragraph each."""
    found = []
    if run.is_finished:
        found += _note_groups(run)
        if run.metrics.get("cluster_structure") == "weak":
            found.append("The clusters are poorly separated (weak structure), so they say little about shortcuts.")
        if run.metrics.get("trains_on_validation"):
            found.append(TRAINED_ON_VALIDATION)
        found += warn_of_probes(run)
    if clusters and run.is_finished and not run.remedy:
        found += _note_suspects(run, clusters)
    return found


def _note_groups(run: RunRecord) -> list[str]:
    """Return what limits the figures of the groups of the test split, and what they say beside the verdict."""
    found = []
    erm, test = (run.evaluations[name]["test"] for name in ("erm", "subnetwork"))
    worst = [(group.num_samples, group_name(group)) for group in (erm.worst_group, test.worst_group)]
    for num_samples, name in sorted({pair for pair in worst if pair[0] < _FEW_SAMPLES}):
        found.append(f"The worst group ({name}) has only {num_samples} test samples, so its accuracy is imprecise.")
    if not run.metrics["data"].get("attributes"):
        found.append(
            "No attributes are known for these data, so the groups are the classes. Class accuracies cannot show a "
            f"shortcut within a class; the {run.words.many} below may show it."
        )
    num_empty = sum(group.num_samples == 0 for group in test.groups)
    if num_empty:
        found.append(f"{num_empty} of {len(test.groups)} groups have no test samples, so their accuracy is unknown.")
    return found + _doubts(run)


def _note_suspects(run: RunRecord, clusters: list[ClusterView]) -> list[str]:
    one = run.words.one
    if run.tested is None:
        return [f"No {one} is marked as suspect, because an older prusc made this run and did not test the clusters."]
    if any(cluster.is_suspect for cluster in clusters):
        return []
    none = f"No {one} is suspect: in none does the test show that the ERM network fails the samples of other classes."
    return [none, _what_fails(run)] if run.metrics["verdict"] == "nothing-better" else [none]


def _what_fails(run: RunRecord) -> str:
    """Return what the verdict ``nothing-better`` rests on if no value is suspect."""
    evidence = [evidence_from_dict(one) for one in run.metrics.get("evidence", ())]
    clear = clear_evidence(evidence, run.config.selection.significance)
    if not clear:
        return (
            f"The verdict rests on the {run.metrics.get('judged_by', 'cells')} of the validation split, whose "
            "accuracies differ by more than chance."
        )
    told = "; ".join(f"source {one.source}: {describe_evidence(one)}" for one in clear)
    return f"The verdict rests on the evidence of all conflicting samples together: {told}."
