"""Sources of the pseudo-attribute: one contract for all, and what each of them makes of its part."""

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args, get_type_hints

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import prusc.data.rows
from prusc.config import ClusteringConfig, PseudoAttributeConfig, TwinsConfig
from prusc.data.rows import RowWriter, StoredRows
from prusc.engine.runtime import stage_generator
from prusc.errors import DataError
from prusc.stages import heads
from prusc.stages.pseudo_attributes import biased, twins
from prusc.stages.pseudo_attributes.attribute import AttributeValues, PseudoAttribute
from prusc.stages.pseudo_attributes.clustering import Clustering, cluster_representations
from prusc.stages.pseudo_attributes.infer import SOURCES, Seen, infer_attribute, take_given_attribute
from prusc.stages.pseudo_attributes.linear import predict_linearly
from tests.networks import generator

SEED = 5


def make_seen(**changes: object) -> Seen:
    """Representations that show a shortcut of three classes, on an odd scale."""
    values, labels = {}, {}
    for seed, (name, number) in enumerate({"train": 90, "val": 40}.items()):
        source = generator(seed)
        labels[name] = torch.arange(number) % 3
        shortcut = torch.where(torch.rand(number, generator=source) < 0.8, labels[name], (labels[name] + 1) % 3)
        values[name] = 3 * torch.eye(5)[shortcut] + torch.randn(number, 5, generator=source)
    seen = Seen(
        values=values,
        labels=labels,
        num_classes=3,
        is_untrained=False,
        clustering=ClusteringConfig(num_clusters=4),
        config=PseudoAttributeConfig(twins=TwinsConfig(draws=2, steps=30)),
        seed=SEED,
    )
    return replace(seen, **changes)  # type: ignore[arg-type]


def check_values(values: AttributeValues, own: Tensor, clustering: Clustering) -> None:
    """Margins and similarities are those of the ids, one sample at a time."""
    for index in range(len(own)):
        cosines = [F.cosine_similarity(own[index], centre, dim=0).item() for centre in clustering.centres]
        mine = cosines.pop(int(values.ids[index]))
        assert values.similarities[index].item() == pytest.approx(mine, abs=1e-5)
        assert values.margins[index].item() == pytest.approx(mine - max(cosines), abs=1e-5)


# ------------------------------------------------------------------------------------------------------- the contract


def test_every_source_of_the_settings_is_there() -> None:
    assert {"auto", *SOURCES} == set(get_args(get_type_hints(PseudoAttributeConfig)["source"]))


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_gives_every_sample_of_both_splits_a_value(source: str) -> None:
    seen = make_seen()
    before = {name: value.clone() for name, value in seen.values.items()}
    state = torch.get_rng_state()
    found = infer_attribute(source, seen)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in seen.values.items())
    assert found.source == source
    assert found.evidence == ()
    assert found.num_values == (4 if source == "clusters" else 3)
    assert list(found.splits) == ["train", "val"]
    for name, values in found.splits.items():
        number = len(seen.labels[name])
        assert values.ids.shape == values.margins.shape == values.similarities.shape == (number,)
        assert values.ids.dtype == torch.int64
        assert 0 <= values.ids.min() <= values.ids.max() < found.num_values
        assert values.margins.isfinite().all()
        assert (values.margins >= -1e-6).all()
        assert (values.similarities <= 1 + 1e-6).all()
    assert torch.equal(found.clustering.cluster_ids, found.splits["train"].ids)
    assert torch.equal(found.clustering.margins, found.splits["train"].margins)
    assert found.mirrors_network == (source == "clusters")
    for value in range(found.num_values):
        mean = F.normalize(seen.values["train"][found.splits["train"].ids == value], dim=1).mean(dim=0)
        # Of k-means the centres are means up to its last step.
        assert F.cosine_similarity(mean, found.clustering.centres[value], dim=0) > 0.99
        assert found.clustering.centres[value].norm().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("source", SOURCES)
def test_a_seed_decides_each_source(source: str) -> None:
    first, again = (infer_attribute(source, make_seen()) for _ in range(2))
    for name, values in first.splits.items():
        for part in ("ids", "margins", "similarities"):
            assert torch.equal(getattr(values, part), getattr(again.splits[name], part))
    assert torch.equal(first.clustering.centres, again.clustering.centres)


@pytest.mark.parametrize("source", SOURCES)
def test_each_source_follows_the_shortcut_rather_than_the_class(source: str) -> None:
    seen = make_seen(clustering=ClusteringConfig(num_clusters=3))
    found = infer_attribute(source, seen)
    for name, values in found.splits.items():
        of_shortcut, of_class = seen.values[name][:, :3].argmax(dim=1), seen.labels[name]
        # Clusters have no order, so each counts for what most of its samples are.
        purities = []
        for wanted in (of_shortcut, of_class):
            table = torch.zeros(3, 3).index_put_((values.ids, wanted), torch.ones(len(wanted)), accumulate=True)
            purities.append(table.amax(dim=1).sum().item() / len(wanted))
        assert purities[0] > purities[1]


# --------------------------------------------------------------------------------------------------- one after another


def test_training_samples_are_clustered_and_validation_samples_go_to_the_nearest_centre() -> None:
    seen = make_seen()
    attribute = infer_attribute("clusters", seen)
    expected = cluster_representations(
        seen.values["train"], seen.clustering, num_classes=3, generator=stage_generator(SEED, "clustering")
    )
    assert torch.equal(attribute.splits["train"].ids, expected.cluster_ids)
    nearest = [
        int(torch.stack([F.cosine_similarity(one, centre, dim=0) for centre in expected.centres]).argmax())
        for one in seen.values["val"]
    ]
    assert attribute.splits["val"].ids.tolist() == nearest
    assert attribute.clustering.structure == expected.structure
    for name, values in attribute.splits.items():
        check_values(values, seen.values[name], expected)


def test_the_untrained_network_is_named_and_changes_no_cluster() -> None:
    plain, untrained = (infer_attribute("clusters", make_seen(is_untrained=asked)) for asked in (False, True))
    assert untrained.clustering.structure == "untrained"
    assert not untrained.mirrors_network
    assert plain.mirrors_network
    assert torch.equal(untrained.splits["val"].ids, plain.splits["val"].ids)
    assert untrained.clustering.trials == plain.clustering.trials


def test_linear_predictions_are_values_and_say_how_certain_they_are() -> None:
    seen = make_seen(config=PseudoAttributeConfig(l2=0.5, folds=3))
    found = infer_attribute("linear", seen)
    logits = predict_linearly(
        seen.values,
        seen.labels["train"],
        num_classes=3,
        l2=0.5,
        num_folds=3,
        generator=stage_generator(SEED, "linear pseudo-attribute"),
    )
    for name, values in found.splits.items():
        for index, row in enumerate(logits[name].tolist()):
            first, second, _ = sorted(row, reverse=True)
            assert row[int(values.ids[index])] == first
            assert values.margins[index].item() == pytest.approx(first - second, abs=1e-4)
            share = 1 / sum(2.718281828 ** (value - first) for value in row)
            assert values.similarities[index].item() == pytest.approx(share, abs=1e-4)
    assert found.clustering.structure == "predicted"


@pytest.mark.parametrize("source", ["twins", "biased"])
def test_of_other_predictions_nobody_knows_how_certain_they_are(source: str) -> None:
    found = infer_attribute(source, make_seen())
    assert found.clustering.structure == "predicted"
    for values in found.splits.values():
        assert (values.margins == 1).all()
        assert (values.similarities == 1).all()


def test_a_value_that_no_training_sample_has_has_no_direction() -> None:
    seen = make_seen()
    few = {name: labels % 2 for name, labels in seen.labels.items()}
    found = infer_attribute("linear", replace(seen, labels=few))
    assert found.num_values == 3
    assert set(found.splits["train"].ids.tolist()) == {0, 1}
    assert (found.clustering.centres[2] == 0).all()
    assert found.clustering.centres.isfinite().all()


def test_given_ids_stay_and_validation_samples_follow_the_mean_directions() -> None:
    values = make_seen().values
    ids = torch.arange(90) % 3
    attribute = take_given_attribute(values, ids)
    assert attribute.source == "given"
    assert torch.equal(attribute.splits["train"].ids, ids)
    centres = torch.stack([F.normalize(values["train"][ids == k], dim=1).mean(0) for k in range(3)])
    nearest = (F.normalize(values["val"], dim=1) @ F.normalize(centres, dim=1).T).argmax(dim=1)
    assert torch.equal(attribute.splits["val"].ids, nearest)
    for name, found in attribute.splits.items():
        check_values(found, values[name], attribute.clustering)


def test_too_few_samples_name_the_option_to_lower() -> None:
    with pytest.raises(DataError, match=r"into 91 clusters .* 90 samples have 90: lower clustering\.num_clusters"):
        infer_attribute("clusters", make_seen(clustering=ClusteringConfig(num_clusters=91)))


@pytest.mark.parametrize("source", ["linear", "twins", "biased"])
def test_a_single_class_is_refused(source: str) -> None:
    seen = make_seen()
    with pytest.raises(DataError, match="at least two classes, found 1"):
        infer_attribute(source, replace(seen, labels={name: 0 * own for name, own in seen.labels.items()}))


@pytest.mark.parametrize("held", [2**26, 0])
@pytest.mark.parametrize("source", [*SOURCES, "given"])
def test_values_are_the_same_in_memory_and_on_disk(source: str, held: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prusc.data.rows, "BLOCK_VALUES", 100)
    for module in (heads, biased, twins):
        monkeypatch.setattr(module, "HELD_VALUES", held)
    monkeypatch.setattr(prusc.data.rows, "HELD_VALUES", held)
    in_memory = make_seen()
    on_disk = {}
    for name, rows in in_memory.values.items():
        writer = RowWriter(*rows.shape)
        writer.write(0, rows)
        on_disk[name] = writer.finish()

    def infer(values: Mapping[str, Tensor | StoredRows]) -> PseudoAttribute:
        if source == "given":
            return take_given_attribute(values, in_memory.labels["train"])
        return infer_attribute(source, replace(in_memory, values=values))

    one, other = infer(in_memory.values), infer(on_disk)
    assert torch.equal(one.clustering.centres, other.clustering.centres)
    for name in ("train", "val"):
        for key, value in vars(one.splits[name]).items():
            assert torch.equal(value, getattr(other.splits[name], key)), key
