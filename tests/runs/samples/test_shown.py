"""Which samples are shown: nearest to the centres, cluster by cluster, then at random."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from prusc.runs.samples import shown
from prusc.runs.samples.exhibit import Exhibit
from prusc.runs.samples.shown import Shown, choose_shown
from tests.networks import striped_data
from tests.runs.samples.exhibits import make_exhibit, without_after


def choose(num_samples: int = 60, seed: int = 0, **options: object) -> tuple[Shown, pd.DataFrame, Exhibit]:
    exhibit, cluster_ids = make_exhibit(striped_data(num_samples), seed=seed, **options)  # type: ignore[arg-type]
    table = pd.DataFrame(
        {
            "label": exhibit.data.val.labels.numpy(),
            "cluster_assign": cluster_ids.numpy(),
            "similarity": np.random.default_rng(seed).random(num_samples),
        }
    )
    return choose_shown(table, exhibit), table, exhibit


def nearest(table: pd.DataFrame, exhibit: Exhibit, *, main: bool, num: int) -> list[set[int]]:
    """The samples of each cluster that are nearest to its centre, of its main class or of the others."""
    found = []
    for cluster in exhibit.clusters:
        inside = (table["cluster_assign"] == cluster.cluster) & ((table["label"] == cluster.main_label) == main)
        found.append(set(table[inside].nlargest(num, "similarity").index))
    return found


def test_each_list_is_the_beginning_of_the_map_and_everybody_is_on_it() -> None:
    found, table, _ = choose()
    assert sorted(found.on_map) == list(range(len(table)))
    assert found.on_map[: len(found.pictures)] == found.pictures
    assert found.pictures[: len(found.attention)] == found.attention


def test_pictures_are_the_nearest_of_each_side_of_each_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "MAX_PICTURES", 24)
    monkeypatch.setattr(shown, "MAX_ATTENTION_SAMPLES", 6)
    found, table, exhibit = choose()
    assert found.per_side == 24 // (2 * len(exhibit.clusters))
    expected: set[int] = set()
    for main in (True, False):
        expected |= set().union(*nearest(table, exhibit, main=main, num=found.per_side))
    assert set(found.pictures) == expected


def test_two_thirds_of_the_attention_go_to_other_classes_and_changed_predictions_first() -> None:
    found, table, exhibit = choose(300)
    main = {cluster.cluster: cluster.main_label for cluster in exhibit.clusters}
    is_other = [table["label"][i] != main[table["cluster_assign"][i]] for i in found.attention]
    assert Counter(is_other) == {True: 16, False: 8}
    before, after = (exhibit.val_predictions(name) for name in ("before", "after"))
    changed = [bool(before[i] != after[i]) for i in found.attention[:16]]
    assert changed == sorted(changed, reverse=True)
    assert changed[0]


def test_an_audit_shows_wrong_predictions_first() -> None:
    exhibit, cluster_ids = make_exhibit(striped_data(300))
    exhibit = without_after(exhibit)
    table = pd.DataFrame(
        {"label": exhibit.data.val.labels.numpy(), "cluster_assign": cluster_ids.numpy(), "similarity": 0.0}
    )
    found = choose_shown(table, exhibit)
    wrong = exhibit.val_predictions("before") != exhibit.data.val.labels
    changed = [bool(wrong[i]) for i in found.attention[:16]]
    assert changed == sorted(changed, reverse=True)
    assert changed[0]


def test_images_to_look_at_always_have_a_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "MAX_PICTURES", 8)
    monkeypatch.setattr(shown, "MAX_ATTENTION_SAMPLES", 2)
    found, *_ = choose(look_at=[7, 11, 13])
    assert {7, 11, 13} <= set(found.pictures)
    assert len(found.pictures) <= 8 + 2


def test_the_map_is_cut_and_the_seed_decides_who_fills_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "MAX_MAP_SAMPLES", 50)
    monkeypatch.setattr(shown, "MAX_PICTURES", 6)
    first, table, exhibit = choose(90)
    assert len(first.on_map) == len(set(first.on_map)) == 50
    assert choose(90)[0] == first
    other = choose_shown(table, replace(exhibit, seed=1))
    assert other.pictures == first.pictures
    assert other.on_map != first.on_map
