"""The table of samples, against the data and the predictions that it was made from."""

import pandas as pd

from prusc.runs.samples.shown import Shown
from prusc.runs.samples.table import make_table
from tests.networks import striped_data
from tests.runs.samples.exhibits import make_exhibit


def make(with_after: bool = True) -> tuple[pd.DataFrame, pd.DataFrame]:
    exhibit, cluster_ids = make_exhibit(striped_data(12), with_after=with_after)
    clusters = pd.DataFrame(
        {"cluster_assign": cluster_ids.numpy(), "similarity": [number / 12 for number in range(12)]}
    )
    shown = Shown(on_map=(5, 3, 8), pictures=(5, 3), attention=(5,), per_side=1)
    return make_table(exhibit, shown, clusters), clusters


def test_every_predicted_sample_has_its_label_attributes_and_predictions() -> None:
    table, clusters = make()
    exhibit, _ = make_exhibit(striped_data(12))
    assert table["split"].tolist() == ["val"] * 12 + ["test"] * 12
    for name in ("val", "test"):
        own, split = table[table["split"] == name], exhibit.data.splits[name]
        assert own["index"].tolist() == list(range(12))
        assert own["sample_id"].tolist() == list(split.sample_ids)
        assert own["label"].tolist() == split.labels.tolist()
        assert split.attributes is not None
        colours = [("red", "green", "blue")[value] for value in split.attributes[:, 0].tolist()]
        assert own["attribute/corner"].tolist() == colours
        for family in ("erm", "subnetwork"):
            assert own[f"prediction/{family}"].tolist() == exhibit.predictions[family][name].tolist()
    val = table[table["split"] == "val"]
    assert val["cluster"].tolist() == clusters["cluster_assign"].tolist()
    assert val["similarity"].tolist() == clusters["similarity"].tolist()
    assert set(table[table["split"] == "test"]["cluster"]) == {-1}
    assert set(table[table["split"] == "test"]["similarity"]) == {0.0}


def test_a_sample_that_is_shown_has_its_position_and_all_others_none() -> None:
    table, _ = make()
    for column, expected in (("map", {5: 0, 3: 1, 8: 2}), ("picture", {5: 0, 3: 1}), ("attention", {5: 0})):
        shown = table[table[column] >= 0]
        assert (shown["split"] == "val").all()
        assert dict(zip(shown["index"], shown[column], strict=True)) == expected
        assert set(table[table[column] < 0][column]) == {-1}


def test_an_audit_has_the_predictions_of_one_network() -> None:
    table, _ = make(with_after=False)
    assert [name for name in table if name.startswith("prediction/")] == ["prediction/erm"]
