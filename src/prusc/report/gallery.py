"""All errors on the validation split, for the gallery of the page; and which class was taken for which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prusc.report.pictures import sheet_addresses
from prusc.report.record import RunRecord
from prusc.runs.samples.exhibit import FAMILY_OF

# About 2 MB of a page; samples.csv has every sample.
MAX_ROWS = 20_000
# A matrix of more classes does not fit into a page, so it lists the most frequent confusions instead.
MAX_CLASSES = 12
_MAX_CONFUSIONS = 20
# Names of the kinds of errors in samples.csv, and what the page calls them.
KIND_TITLES = {
    "shortcut": "shortcut error",
    "mislabelled": "possibly mislabelled",
    "error": "other error",
    "": "wrong only after",
}


@dataclass(frozen=True)
class Confusion:
    """How often one network takes a class for another.

    Attributes:
        title: Title of the network.
        counts: Samples by class and prediction, [classes][classes]; empty for many classes.
        pairs: The most frequent confusions: class, prediction and number of samples.
    """

    title: str
    counts: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, int, int], ...]


@dataclass(frozen=True)
class Gallery:
    """All errors on the validation split.

    Attributes:
        data: Plain values for the script of the page.
        num_errors: Number of samples that a network gets wrong.
        num_hidden: Number of them that the page leaves out.
        num_without_picture: Number of those on the page that have no thumbnail.
        num_samples: Number of validation samples.
        kinds: Number of errors of each kind that occurs, by its title; empty if the kinds are not known.
        clusters: Clusters that occur among the errors.
        confusions: One per network.
        has_after: Whether there is a second network.
    """

    data: dict[str, Any]
    num_errors: int
    num_hidden: int
    num_without_picture: int
    num_samples: int
    kinds: dict[str, int]
    clusters: tuple[int, ...]
    confusions: tuple[Confusion, ...]
    has_after: bool


def make_gallery(run: RunRecord, *, with_sheets: bool) -> Gallery | None:
    """Return the errors; ``None`` without a record of samples.

    Args:
        run: A finished run, or an audit.
        with_sheets: Whether the gallery brings the sheets of thumbnails; otherwise the map of the page has them.
    """
    samples = run.samples
    if samples is None:
        return None
    val = samples.table[samples.table["split"] == "val"]
    families = [family for family in FAMILY_OF.values() if f"prediction/{family}" in val]
    is_wrong = np.stack([(val[f"prediction/{family}"] != val["label"]).to_numpy() for family in families])
    is_error = np.asarray(is_wrong.any(axis=0))
    errors = val[is_error]
    worst = np.where(is_wrong, np.stack([_confidence(val, family) for family in families]), -1.0).max(axis=0)
    order = np.argsort(-worst[is_error], kind="stable")
    shown = errors.take(order[:MAX_ROWS])
    suspects = {cluster.cluster for cluster in run.tested or () if cluster.is_suspect}
    kinds = errors["kind"].tolist() if "kind" in errors and (errors["kind"] != "").any() else []
    size = samples.thumbnails.size
    data: dict[str, Any] = {
        "ids": shown["sample_id"].tolist(),
        "label": shown["label"].tolist(),
        "cluster": shown["cluster"].tolist(),
        "picture": shown["map"].tolist(),
        "predictions": [shown[f"prediction/{family}"].tolist() for family in families],
        "confidence": [_confidence(shown, family).round(3).tolist() for family in families],
        "kind": shown["kind"].tolist() if kinds else None,
        "suggested": shown["suggested"].tolist() if kinds else None,
        "sureness": shown["confidence/suggested"].round(3).tolist() if kinds else None,
        "kinds": KIND_TITLES,
        "classes": run.class_names,
        "suspects": sorted(suspects),
        "sheets": sheet_addresses(samples.thumbnails) if with_sheets else None,
        "tile": {"width": size.width, "height": size.height},
        "file": f"{run.path.name}-errors.csv",
    }
    titles = ("ERM network", "chosen network") if len(families) > 1 else ("the network",)
    return Gallery(
        data=data,
        num_errors=len(errors),
        num_hidden=len(errors) - len(shown),
        num_without_picture=int((shown["map"] < 0).sum()),
        num_samples=len(val),
        kinds={title: kinds.count(kind) for kind, title in KIND_TITLES.items() if kinds.count(kind)},
        clusters=tuple(sorted(set(errors["cluster"].tolist()))),
        confusions=tuple(
            count_confusions(title, val["label"].to_numpy(), val[f"prediction/{family}"].to_numpy(), run.class_names)
            for title, family in zip(titles, families, strict=True)
        ),
        has_after=len(families) > 1,
    )


def count_confusions(
    title: str, labels: NDArray[np.int64], predictions: NDArray[np.int64], class_names: Sequence[str]
) -> Confusion:
    """Count how often each class is taken for each other.

    Args:
        title: Title of the network.
        labels: Class of each sample.
        predictions: Predicted class of each sample.
        class_names: One per class.
    """
    num = len(class_names)
    counts = np.bincount(labels * num + predictions, minlength=num * num).reshape(num, num)
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    largest = np.argsort(-wrong.ravel(), kind="stable")[:_MAX_CONFUSIONS]
    pairs = tuple(
        (int(index) // num, int(index) % num, int(wrong.ravel()[index])) for index in largest if wrong.ravel()[index]
    )
    rows = tuple(tuple(map(int, row)) for row in counts) if num <= MAX_CLASSES else ()
    return Confusion(title, rows, pairs)


def _confidence(table: pd.DataFrame, family: str) -> NDArray[np.float64]:
    """Return the confidence of each prediction; -1 if an older prusc did not keep it."""
    column = f"confidence/{family}"
    return table[column].to_numpy(dtype=float) if column in table else np.full(len(table), -1.0)
