"""The report of an audit: what stands on the page, in the order in which it stands there."""

from dataclasses import dataclass

from prusc.report.clusters import view_attention, view_clusters
from prusc.report.made import list_settings, repeat_command
from prusc.report.page import render_page
from prusc.report.pictures import Judgement, address_of
from prusc.report.record import RunRecord
from prusc.report.run_page import NUM_OPEN_CLUSTERS, num_missing_pictures
from prusc.report.sample_map import MapKind, make_map
from prusc.runs.audit import first_images
from prusc.stages.audit.clusters import AuditVerdict
from prusc.stages.evaluation import wilson_interval


@dataclass(frozen=True)
class ListedImage:
    """A sample to look at, as a row of a table.

    Attributes:
        sample_id: Its name.
        label: Its class.
        said: What the network says.
        cluster: The cluster it lies in.
        main_class: The class that most of that cluster has.
        similarity: To the centre of that cluster.
        address: Its picture as a data address; empty if the picture is missing.
    """

    sample_id: str
    label: str
    said: Judgement
    cluster: int
    main_class: str
    similarity: float
    address: str

    @property
    def prediction(self) -> str:
        """The class that the network says."""
        return self.said.name


def render_audit(run: RunRecord, *, map_kind: MapKind = "pca") -> str:
    """Return the page of an audit.

    Args:
        run: What its folder holds.
        map_kind: How the map of the representations is made.
    """
    clusters = view_clusters(run)
    tested = run.tested or ()
    num_samples = sum(sum(cluster.class_counts) for cluster in tested)
    num_right = round(sum(sum(cluster.class_counts) * cluster.accuracy for cluster in tested))
    sample_map = make_map(run, map_kind)
    return render_page(
        "audit.html",
        charts={},
        data={"map": sample_map},
        title=f"Audit of {run.data_name}, {run.config.model}, seed {run.config.seed}",
        run=run,
        headline=headline(run),
        num_suspects=sum(cluster.is_suspect for cluster in tested),
        num_samples=num_samples,
        silhouette=best_silhouette(run),
        accuracy=num_right / num_samples,
        accuracy_ci95=wilson_interval(num_right, num_samples),
        clusters=clusters,
        num_open_clusters=NUM_OPEN_CLUSTERS,
        num_missing_pictures=num_missing_pictures(clusters),
        sample_map=sample_map,
        attention=view_attention(run),
        first=list_first(run),
        notes=notes(run),
        settings=list_settings(run.config),
        command=repeat_command(run, "audit"),
    )


def headline(run: RunRecord) -> str:
    """Return the verdict in one sentence."""
    num, num_suspects = len(run.tested or ()), sum(cluster.is_suspect for cluster in run.tested or ())
    verdict: AuditVerdict = run.audit["verdict"]
    if verdict == "suspected":
        return f"A shortcut is suspected: within {num_suspects} of {num} clusters the network fails other classes."
    if verdict == "unclear":
        return (
            f"Unclear: within {num_suspects} of {num} clusters the network fails other classes, but the clusters do "
            "not stand far apart."
        )
    return "No shortcut was found."


def best_silhouette(run: RunRecord) -> float | None:
    """Return what the structure goes by: the best silhouette among the K above the number of classes."""
    trials = run.audit.get("silhouettes", ())
    found = [trial["silhouette"] for trial in trials if trial["num_clusters"] > len(run.class_names)]
    return max((value for value in found if value is not None), default=None)


def list_first(run: RunRecord) -> list[ListedImage]:
    """Return the samples to look at first, in the order of the audit."""
    if run.look_at is None or not len(run.look_at):
        return []
    pictures: dict[str, int] = {}
    if run.samples is not None:
        table = run.samples.table
        pictures = dict(zip(table["sample_id"], table["picture"].tolist(), strict=True))
    rows = []
    for row in first_images(run.look_at).to_dict("records"):
        position = pictures.get(row["sample_id"], -1)
        pixels = None if run.samples is None or position < 0 else run.samples.pictures.cut(position)
        rows.append(
            ListedImage(
                sample_id=row["sample_id"],
                label=row["label"],
                said=Judgement(row["prediction"], row["prediction"] == row["label"]),
                cluster=row["cluster"],
                main_class=row["main_class"],
                similarity=row["similarity"],
                address="" if pixels is None else address_of(pixels),
            )
        )
    return rows


def notes(run: RunRecord) -> list[str]:
    """Return what a reader should know before believing the verdict."""
    found = []
    if any(cluster.is_suspect for cluster in run.tested or ()):
        found.append(
            "A suspect is a place to look, not a proof: images that are hard for any network may lie together too."
            if run.audit["structure"] == "untrained"
            else "A suspect is a place to look, not a proof: a sample that lies among another class is mostly wrong in "
            "any network, and a network that is right by honest means can have clusters that stand apart too."
        )
    found.append("A shortcut that the validation images never contradict leaves no others, and is not found.")
    if run.audit["structure"] == "weak":
        found.append("The clusters hardly stand apart (weak structure): they say little about shortcuts.")
    return found
