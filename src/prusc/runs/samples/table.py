"""The table of samples: label, attributes, predictions, and where a report shows each sample."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prusc.data.arrays import tabulate_ids
from prusc.runs.samples.exhibit import FAMILY_OF, Exhibit
from prusc.runs.samples.shown import Shown
from prusc.runs.samples.verdicts import Verdicts
from prusc.stages.audit.label_issues import KINDS


def make_table(
    exhibit: Exhibit, shown: Shown, val_clusters: pd.DataFrame, verdicts: Verdicts | None = None
) -> pd.DataFrame:
    """Return one row per predicted sample; ``-1`` stands for no cluster, for not shown and for not known."""
    tables = []
    data = exhibit.data
    for name in exhibit.predictions[FAMILY_OF["before"]]:
        split = data.splits[name]
        columns: dict[str, object] = {
            "split": name,
            "index": range(len(split)),
            "sample_id": tabulate_ids(split.sample_ids),
            "label": split.labels.numpy(),
            "cluster": val_clusters["cluster_assign"] if name == "val" else -1,
            "similarity": val_clusters["similarity"] if name == "val" else 0.0,
        }
        if split.attributes is not None:
            for column, attribute in enumerate(data.attribute_names):
                values = np.array(data.attribute_values[column], dtype=object)
                columns[f"attribute/{attribute}"] = values[split.attributes[:, column].numpy()]
        columns |= {f"prediction/{family}": found[name].numpy() for family, found in exhibit.predictions.items()}
        columns |= _judge(verdicts if name == "val" else None)
        columns |= _positions(shown if name == "val" else Shown((), (), (), 0), len(split))
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def list_label_issues(table: pd.DataFrame, class_names: Sequence[str]) -> pd.DataFrame:
    """Return the validation samples whose label looks wrong, the surest first.

    Args:
        table: As `make_table` returns it.
        class_names: Name of each label.
    """
    found = table[table["kind"] == "mislabelled"].sort_values("confidence/suggested", ascending=False, kind="stable")
    names = dict(enumerate(class_names))
    return pd.DataFrame(
        {
            "sample_id": found["sample_id"],
            "label": found["label"].map(names),
            "suggested": found["suggested"].map(names),
            "confidence": found["confidence/suggested"],
            "cluster": found["cluster"],
        }
    )


def _judge(verdicts: Verdicts | None) -> Mapping[str, object]:
    """Return the confidence of each network, the kind of the error, and what the balanced heads would say."""
    columns: dict[str, object] = {
        f"confidence/{family}": -1.0
        if verdicts is None or family not in verdicts.confidence
        else verdicts.confidence[family].numpy().round(4)
        for family in FAMILY_OF.values()
    }
    checked = None if verdicts is None else verdicts.checked
    if checked is None:
        return columns | {"kind": "", "suggested": -1, "confidence/suggested": -1.0}
    return columns | {
        "kind": np.array(KINDS, dtype=object)[checked.kinds.numpy()],
        "suggested": checked.suggested.numpy(),
        "confidence/suggested": checked.confidence.numpy().round(4),
    }


def _positions(shown: Shown, num_samples: int) -> Mapping[str, NDArray[np.int64]]:
    """Return the position of each sample on the map, among the pictures and among the maps of attention."""
    columns = {}
    for name, indices in (("map", shown.on_map), ("picture", shown.pictures), ("attention", shown.attention)):
        columns[name] = np.full(num_samples, -1)
        columns[name][list(indices)] = np.arange(len(indices))
    return columns
