"""The two-dimensional map of the representations of both networks, as the script of the page draws it."""

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import TSNE

from prusc.report.charts import PALETTE
from prusc.report.pictures import sheet_addresses
from prusc.report.record import RunRecord
from prusc.report.sample_record import SampleRecord
from prusc.report.text import percent
from prusc.runs.samples.exhibit import FAMILY_OF

MapKind = Literal["pca", "tsne"]

_DIGITS = 3
# Small maps get a lower perplexity, because t-SNE needs more samples than neighbours.
_PERPLEXITY = 30


def make_map(run: RunRecord, kind: MapKind) -> dict[str, Any] | None:
    """Return the content of the map; ``None`` if the folder lacks the data for it.

    Args:
        run: A finished run, or an audit, which has one network only.
        kind: ``pca`` for the first two principal components, ``tsne`` for t-SNE of the first 50.

    Returns:
        Plain values for the page.
    """
    samples = run.samples
    if samples is None or samples.map_before is None or (samples.has_after and samples.map_after is None):
        return None
    table = samples.table[samples.table["map"] >= 0].sort_values("map")
    points = {"before": place(samples.map_before, kind)}
    if samples.map_after is not None:
        points["after"] = turn_alike(place(samples.map_after, kind), points["before"])
    names = run.class_names
    label, cluster = table["label"].to_numpy(), table["cluster"].to_numpy()
    predictions = {
        name: table[f"prediction/{FAMILY_OF[name if name in points else 'before']}"].to_numpy() for name in FAMILY_OF
    }
    right = {name: (found == label).astype(int) for name, found in predictions.items()}
    colourings = [
        _colouring("class", names, label, label),
        _colouring(
            "cluster" if run.words.one == "cluster" else "pseudo-attribute",
            [str(number) for number in range(int(cluster.max()) + 1)],
            cluster,
            cluster,
        ),
        _colouring("right or wrong", ["wrong", "right"], right["before"], right["after"]),
        _colouring("prediction", names, predictions["before"], predictions["after"]),
    ]
    for name in samples.attribute_names:
        values, codes = np.unique(table[f"attribute/{name}"].to_numpy(dtype=str), return_inverse=True)
        colourings.append(_colouring(name, values.tolist(), codes, codes))
    size = samples.thumbnails.size
    return {
        "points": {name: _plain(found) for name, found in points.items()},
        "axes": {name: _axis_titles(samples, name, kind) for name in points},
        "colourings": colourings,
        "ids": table["sample_id"].tolist(),
        "palette": PALETTE,
        "sheets": sheet_addresses(samples.thumbnails),
        "tile": {"width": size.width, "height": size.height},
        "no_pictures": samples.thumbnails.why_not or "",
    }


def place(components: NDArray[np.float32], kind: MapKind) -> NDArray[np.float32]:
    """Return two coordinates for each sample, [samples, 2]."""
    if kind == "pca" or len(components) < 4:
        return components[:, :2]
    perplexity = min(_PERPLEXITY, (len(components) - 1) / 3)
    found: NDArray[np.float32] = TSNE(perplexity=perplexity, init="pca", random_state=0).fit_transform(components)
    return found


def turn_alike(points: NDArray[np.float32], other: NDArray[np.float32]) -> NDArray[np.float32]:
    """Mirror axes to agree with the other map, because the sign of an axis is arbitrary."""
    signs = np.where((points * other).sum(axis=0) < 0, -1, 1)
    return (points * signs).astype(np.float32)


def _plain(points: NDArray[np.float32]) -> list[list[float]]:
    return [points[:, axis].astype(float).round(_DIGITS).tolist() for axis in range(2)]


def _colouring(name: str, values: list[str], before: NDArray[np.int64], after: NDArray[np.int64]) -> dict[str, Any]:
    """Return one way to colour the points: the names of its values, and the value of each point by network."""
    return {"name": name, "values": values, "before": before.tolist(), "after": after.tolist()}


def _axis_titles(samples: SampleRecord, name: str, kind: MapKind) -> list[str]:
    if kind == "tsne":
        return ["t-SNE 1", "t-SNE 2"]
    shares = samples.explained_variance[name]
    return [f"component {axis} ({percent(shares[axis - 1], 0)} of the variance)" for axis in (1, 2)]
