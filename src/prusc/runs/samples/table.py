"""The table of samples: label, attributes, predictions, and where a report shows each sample."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prusc.runs.samples.exhibit import FAMILY_OF, Exhibit
from prusc.runs.samples.shown import Shown


def make_table(exhibit: Exhibit, shown: Shown, val_clusters: pd.DataFrame) -> pd.DataFrame:
    """Return one row per predicted sample; ``-1`` stands for no cluster and for not shown."""
    tables = []
    data = exhibit.data
    for name in exhibit.predictions[FAMILY_OF["before"]]:
        split = data.splits[name]
        columns: dict[str, object] = {
            "split": name,
            "index": range(len(split)),
            "sample_id": split.sample_ids,
            "label": split.labels.numpy(),
            "cluster": val_clusters["cluster_assign"] if name == "val" else -1,
            "similarity": val_clusters["similarity"] if name == "val" else 0.0,
        }
        if split.attributes is not None:
            for column, attribute in enumerate(data.attribute_names):
                values = np.array(data.attribute_values[column], dtype=object)
                columns[f"attribute/{attribute}"] = values[split.attributes[:, column].numpy()]
        columns |= {f"prediction/{family}": found[name].numpy() for family, found in exhibit.predictions.items()}
        columns |= _positions(shown if name == "val" else Shown((), (), (), 0), len(split))
        tables.append(pd.DataFrame(columns))
    return pd.concat(tables, ignore_index=True)


def _positions(shown: Shown, num_samples: int) -> Mapping[str, NDArray[np.int64]]:
    """Return the position of each sample on the map, among the pictures and among the maps of attention."""
    columns = {}
    for name, indices in (("map", shown.on_map), ("picture", shown.pictures), ("attention", shown.attention)):
        columns[name] = np.full(num_samples, -1)
        columns[name][list(indices)] = np.arange(len(indices))
    return columns
