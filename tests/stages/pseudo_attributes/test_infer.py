import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from prusc.config import ClusteringConfig
from prusc.errors import DataError
from prusc.stages.pseudo_attributes.attribute import AttributeValues
from prusc.stages.pseudo_attributes.clustering import Clustering, cluster_representations
from prusc.stages.pseudo_attributes.infer import add_finer_ids, infer_attribute, take_given_attribute
from tests.networks import generator

CONFIG = ClusteringConfig(num_clusters=4)


def representations(dim: int = 5) -> dict[str, Tensor]:
    return {
        name: torch.randn(number, dim, generator=generator(seed)) * 3
        for seed, (name, number) in enumerate({"train": 60, "val": 40}.items())
    }


def check_values(values: AttributeValues, own: Tensor, clustering: Clustering) -> None:
    """Margins and similarities are those of the ids, one sample at a time."""
    for index in range(len(own)):
        cosines = [F.cosine_similarity(own[index], centre, dim=0).item() for centre in clustering.centres]
        mine = cosines.pop(int(values.ids[index]))
        assert values.similarities[index].item() == pytest.approx(mine, abs=1e-5)
        assert values.margins[index].item() == pytest.approx(mine - max(cosines), abs=1e-5)


def test_training_samples_are_clustered_and_validation_samples_go_to_the_nearest_centre() -> None:
    seen = representations()
    attribute = infer_attribute(seen, CONFIG, num_classes=2, generator=generator(5))
    expected = cluster_representations(seen["train"], CONFIG, num_classes=2, generator=generator(5))
    assert torch.equal(attribute.splits["train"].ids, expected.cluster_ids)
    nearest = [
        int(torch.stack([F.cosine_similarity(one, centre, dim=0) for centre in expected.centres]).argmax())
        for one in seen["val"]
    ]
    assert attribute.splits["val"].ids.tolist() == nearest
    assert attribute.clustering.structure == expected.structure
    for name, values in attribute.splits.items():
        assert values.finer_ids is None
        check_values(values, seen[name], expected)
        assert bool((values.margins >= -1e-6).all()), "every sample is in the cluster of its nearest centre"


def test_the_untrained_network_is_named_and_changes_no_cluster() -> None:
    seen = representations()
    plain, untrained = (
        infer_attribute(seen, CONFIG, num_classes=2, generator=generator(5), is_untrained=asked)
        for asked in (False, True)
    )
    assert untrained.clustering.structure == "untrained"
    assert not untrained.mirrors_network
    assert plain.mirrors_network
    assert torch.equal(untrained.splits["val"].ids, plain.splits["val"].ids)
    assert untrained.clustering.trials == plain.clustering.trials


def test_given_ids_stay_and_validation_samples_follow_the_mean_directions() -> None:
    seen = representations()
    ids = torch.arange(60) % 3
    attribute = take_given_attribute(seen, ids)
    assert torch.equal(attribute.splits["train"].ids, ids)
    centres = torch.stack([F.normalize(seen["train"][ids == k], dim=1).mean(0) for k in range(3)])
    nearest = (F.normalize(seen["val"], dim=1) @ F.normalize(centres, dim=1).T).argmax(dim=1)
    assert torch.equal(attribute.splits["val"].ids, nearest)
    for name, values in attribute.splits.items():
        check_values(values, seen[name], attribute.clustering)


def test_finer_ids_are_clusters_of_the_other_network_and_leave_the_rest_alone() -> None:
    seen, of_erm = representations(), representations(dim=7)
    attribute = infer_attribute(seen, CONFIG, num_classes=2, generator=generator(5))
    config = ClusteringConfig(num_clusters=9, candidates=(2, 8))
    finer = add_finer_ids(attribute, of_erm, config, num_clusters=3, num_classes=2, generator=generator(6))
    expected = cluster_representations(
        of_erm["train"], ClusteringConfig(num_clusters=3, candidates=(3,)), num_classes=2, generator=generator(6)
    )
    assert finer.clustering is attribute.clustering
    for name, values in finer.splits.items():
        before = attribute.splits[name]
        assert (values.ids is before.ids, values.margins is before.margins) == (True, True)
        assert values.finer_ids is not None
        assert torch.equal(values.finer_ids, expected.assign(of_erm[name]))
    assert all(values.finer_ids is None for values in attribute.splits.values()), "the one given is not changed"


def test_too_few_samples_name_the_option_to_lower() -> None:
    seen = representations()
    with pytest.raises(DataError, match=r"into 61 clusters .* 60 samples have 60: lower clustering\.num_clusters"):
        infer_attribute(seen, ClusteringConfig(num_clusters=61), num_classes=2, generator=generator())
    attribute = infer_attribute(seen, CONFIG, num_classes=2, generator=generator())
    with pytest.raises(DataError, match=r"into 61 clusters .* lower debiasing_set\.final_clusters"):
        add_finer_ids(attribute, seen, CONFIG, num_clusters=61, num_classes=2, generator=generator())
