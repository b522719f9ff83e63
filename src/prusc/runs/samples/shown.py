"""Choice of the validation samples that a report shows."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import zip_longest

import numpy as np
import pandas as pd

from prusc.runs.samples.exhibit import Exhibit

# A browser draws this many points without delay.
MAX_MAP_SAMPLES = 5_000
# This many errors are sure to have a thumbnail, however many samples there are.
MAX_GALLERY_SAMPLES = 1_000
# With these and the thumbnails of the map, a report stays below 12 MB.
MAX_PICTURES = 400
MAX_PICTURES_PER_CELL_SIDE = 12
MAX_ATTENTION_SAMPLES = 24


@dataclass(frozen=True)
class Shown:
    """Indices of the validation samples that a report shows; each list is a subset of the one before.

    Attributes:
        on_map: Samples with a thumbnail and a place on the map.
        pictures: Samples with a larger picture.
        attention: Samples with maps of attention.
        per_side: Number of pictures per cluster of its main class, and of its other classes.
    """

    on_map: tuple[int, ...]
    pictures: tuple[int, ...]
    attention: tuple[int, ...]
    per_side: int


def choose_shown(val_clusters: pd.DataFrame, exhibit: Exhibit, errors: Sequence[int] = ()) -> Shown:
    """Choose the samples to show.

    Each cluster shows the samples of its main class and of its other classes that are nearest to its centre. Errors
    follow, and random samples fill the rest of the map.

    Args:
        val_clusters: Columns ``label``, ``cluster_assign`` and ``similarity``, one row per validation sample.
        exhibit: Gives the main class of each cluster, the predictions of the networks and the seed.
        errors: Indices of samples with a wrong prediction, the first to be shown first.

    Returns:
        Indices into the validation split.
    """
    main_class = {cluster.cluster: cluster.main_label for cluster in exhibit.clusters}
    num_left = MAX_PICTURES - len(exhibit.look_at)
    per_side = max(1, min(MAX_PICTURES_PER_CELL_SIDE, num_left // (2 * max(len(main_class), 1))))
    nearest = val_clusters.sort_values("similarity", ascending=False, kind="stable")
    typical, others = {}, {}
    for cluster in sorted(nearest["cluster_assign"].unique()):
        members = nearest[nearest["cluster_assign"] == cluster]
        is_main = members["label"] == main_class.get(int(cluster), -1)
        typical[cluster] = members.index[is_main][:per_side].tolist()
        others[cluster] = members.index[~is_main][:per_side].tolist()
    pictures = [*exhibit.look_at, *list(_in_turns([*others.values(), *typical.values()]))[:num_left]]
    # Attention goes first to samples that contradict their cluster, and of these to changed or wrong predictions.
    before = exhibit.val_predictions("before")
    other = exhibit.val_predictions("after") if "after" in exhibit.networks else exhibit.data.val.labels
    first = sorted(_in_turns(others.values()), key=lambda index: bool(before[index] == other[index]))
    attention = [*first[: 2 * MAX_ATTENTION_SAMPLES // 3], *_in_turns(typical.values())][:MAX_ATTENTION_SAMPLES]
    rest = np.random.default_rng(exhibit.seed).permutation(len(val_clusters)).tolist()
    on_map = list(dict.fromkeys([*attention, *pictures, *errors[:MAX_GALLERY_SAMPLES], *rest]))[:MAX_MAP_SAMPLES]
    num_pictures = len({*attention, *pictures})
    return Shown(tuple(on_map), tuple(on_map[:num_pictures]), tuple(attention), per_side)


def _in_turns(lists: Iterable[list[int]]) -> Iterable[int]:
    """Yield the first item of each list, then the second of each, and so on."""
    return (item for turn in zip_longest(*lists) for item in turn if item is not None)
