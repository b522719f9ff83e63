"""The report of an audit: the content of the page, in the order of the page."""

from dataclasses import dataclass

from prusc.report.clusters import view_attention, view_clusters
from prusc.report.gallery import make_gallery
from prusc.report.group_gap import describe_group_gap
from prusc.report.made import list_settings, repeat_command
from prusc.report.names import list_probes, view_names, warn_of_probes
from prusc.report.next_steps import list_next_steps
from prusc.report.page import render_page
from prusc.report.pictures import Prediction, address_of
from prusc.report.record import RunRecord
from prusc.report.run_page import NUM_OPEN_CLUSTERS, num_missing_pictures
from prusc.report.sample_map import MapKind, make_map
from prusc.runs.artifacts import evaluation_from_dict, evidence_from_dict
from prusc.runs.audit import first_images
from prusc.stages.audit.clusters import AuditVerdict
from prusc.stages.evaluation import GroupAccuracy, wilson_interval
from prusc.stages.evidence import clear_evidence, describe_evidence
from prusc.stages.pseudo_attributes.attribute import Evidence


@dataclass(frozen=True)
class ListedImage:
    """One row of the table of images to look at first.

    Attributes:
        sample_id: Name of the sample.
        label: Name of its class.
        predicted: Prediction of the network.
        cluster: Number of its cluster.
        main_class: Name of the main class of that cluster.
        similarity: Cosine similarity to the centre of that cluster, in [-1, 1].
        address: Its picture as a data URL; empty if the picture is missing.
    """

    sample_id: str
    label: str
    predicted: Prediction
    cluster: int
    main_class: str
    similarity: float
    address: str

    @property
    def prediction(self) -> str:
        """Name of the predicted class."""
        return self.predicted.name


def render_audit(run: RunRecord, *, map_kind: MapKind = "pca") -> str:
    """Return the page of an audit.

    Args:
        run: Content of its folder.
        map_kind: Projection of the map of the representations.

    Returns:
        HTML.
    """
    clusters = view_clusters(run)
    tested = run.tested or ()
    num_samples = sum(sum(cluster.class_counts) for cluster in tested)
    num_right = round(sum(sum(cluster.class_counts) * cluster.accuracy for cluster in tested))
    sample_map, names = make_map(run, map_kind), view_names(run)
    gallery = make_gallery(run, with_sheets=sample_map is None)
    return render_page(
        "audit.html",
        charts={},
        data={"map": sample_map, "gallery": None if gallery is None else gallery.data},
        title=f"Audit of {run.data_name}, {run.config.model}, seed {run.config.seed}",
        run=run,
        headline=headline(run),
        num_suspects=sum(cluster.is_suspect for cluster in tested),
        num_samples=num_samples,
        silhouette=best_silhouette(run),
        accuracy=num_right / num_samples,
        accuracy_ci95=wilson_interval(num_right, num_samples),
        clusters=clusters,
        words=run.words,
        groups=list_groups(run),
        evidence=[evidence_from_dict(one) for one in run.audit.get("evidence", ())],
        head_evaluations={
            name: evaluation_from_dict(found)
            for name, found in run.audit.get("heads", {}).get("evaluations", {}).items()
        },
        num_open_clusters=NUM_OPEN_CLUSTERS,
        num_missing_pictures=num_missing_pictures(clusters),
        names=names,
        probes=list_probes(run),
        gallery=gallery,
        sample_map=sample_map,
        attention=view_attention(run),
        first=list_first(run),
        notes=notes(run),
        settings=list_settings(run.config),
        command=repeat_command(run, "audit"),
        next_steps=list_next_steps(run),
    )


def headline(run: RunRecord) -> str:
    """Return the verdict in one sentence."""
    num, num_suspects = len(run.tested or ()), sum(cluster.is_suspect for cluster in run.tested or ())
    verdict: AuditVerdict = run.audit["verdict"]
    many = run.words.many
    if verdict == "suspected":
        return f"A shortcut is suspected: in {num_suspects} of {num} {many}, the network fails the other classes."
    if verdict == "unclear":
        return (
            f"Unclear: in {num_suspects} of {num} {many}, the network fails the other classes, but they are not "
            "well separated."
        )
    if verdict == "undecided":
        return "Undecided: too few validation samples conflict with the pseudo-attribute to see a shortcut."
    alone = f"in none of {num} {many} does the test show that the network fails the other classes"
    together = " Taken together, the samples that conflict with the pseudo-attribute fail more." if _clear(run) else ""
    return f"No suspect: {alone}.{together}"


def _clear(run: RunRecord) -> tuple[Evidence, ...]:
    """Return the evidence of all conflicting samples together that is significant."""
    evidence = [evidence_from_dict(one) for one in run.audit.get("evidence", ())]
    return clear_evidence(evidence, run.config.audit.significance)


def best_silhouette(run: RunRecord) -> float | None:
    """Return the best silhouette among the trials with more clusters than classes, which decides the structure."""
    trials = run.audit.get("silhouettes", ())
    found = [trial["silhouette"] for trial in trials if trial["num_clusters"] > len(run.class_names)]
    return max((value for value in found if value is not None), default=None)


def list_groups(run: RunRecord) -> list[GroupAccuracy]:
    """Return the groups of known attributes, the worst first, empty ones last; empty without known attributes."""
    if not run.audit["data"].get("attributes") or "evaluation" not in run.audit:
        return []
    groups = evaluation_from_dict(run.audit["evaluation"]).groups
    return sorted(groups, key=lambda group: (group.accuracy is None, group.accuracy))


def list_first(run: RunRecord) -> list[ListedImage]:
    """Return the images to look at first, in the order of the audit."""
    if run.look_at is None or not len(run.look_at):
        return []
    pictures: dict[str, int] = {}
    if run.samples is not None:
        table = run.samples.table[run.samples.table["picture"] >= 0]
        pictures = dict(zip(table["sample_id"], table["picture"].tolist(), strict=True))
    rows = []
    for row in first_images(run.look_at).to_dict("records"):
        position = pictures.get(row["sample_id"], -1)
        pixels = None if run.samples is None or position < 0 else run.samples.pictures.cut(position)
        rows.append(
            ListedImage(
                sample_id=row["sample_id"],
                label=row["label"],
                predicted=Prediction(row["prediction"], row["prediction"] == row["label"]),
                cluster=row["cluster"],
                main_class=row["main_class"],
                similarity=row["similarity"],
                address="" if pixels is None else address_of(pixels),
            )
        )
    return rows


def notes(run: RunRecord) -> list[str]:
    """Return the limits of the verdict, a paragraph each."""
    found, one = [], run.words.one
    if weak := run.audit.get("weak_classes"):
        found.append(
            f"The network fails {'this class' if len(weak) == 1 else 'these classes'} more than the others: "
            f"{', '.join(weak)}. That alone says nothing of a shortcut."
        )
    if any(cluster.is_suspect for cluster in run.tested or ()):
        found.append(
            f"A suspect {one} is a place to look, not a proof: samples that are hard for any network may also share a "
            f"{one}."
            if run.audit["structure"] in ("untrained", "predicted")
            else f"A suspect {one} is a place to look, not a proof. Any network mostly fails samples that lie among "
            "another class, and a network without a shortcut can also have well-separated clusters."
        )
    elif "evaluation" in run.audit and (gap := describe_group_gap(evaluation_from_dict(run.audit["evaluation"]))):
        found.append(gap)
    if run.audit["verdict"] in ("undecided", "not-found"):
        if run.audit.get("smallest_loss") is not None:
            found.append(
                f"The test would have found a loss of {100 * run.audit['smallest_loss']:.0f} points with a probability "
                "of 80 %. A smaller one would most likely have passed unseen."
            )
        found += [
            f"Source {one.source}: {describe_evidence(one)}. That is beyond chance, although no single {run.words.one} "
            "is suspect; prusc run counts it."
            for one in _clear(run)
        ]
    found += warn_of_probes(run)
    found.append("The audit cannot find a shortcut that no validation sample contradicts.")
    if run.audit["structure"] == "weak":
        found.append("The clusters are poorly separated (weak structure), so they say little about shortcuts.")
    return found
