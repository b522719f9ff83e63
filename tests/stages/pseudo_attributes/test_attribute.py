from dataclasses import replace

import pytest
import torch

from prusc.stages.pseudo_attributes.attribute import PseudoAttribute
from prusc.stages.pseudo_attributes.clustering import Structure
from prusc.stages.pseudo_attributes.infer import take_given_attribute
from tests.networks import generator


def attribute_of(ids: torch.Tensor) -> PseudoAttribute:
    seen = {name: torch.randn(len(ids), 4, generator=generator(seed)) for seed, name in enumerate(("train", "val"))}
    return take_given_attribute(seen, ids)


def test_it_has_as_many_values_as_the_clustering_has_clusters() -> None:
    assert attribute_of(torch.arange(12) % 5).num_values == 5
    assert attribute_of(torch.tensor([3, 3, 8, 8])).num_values == 2


@pytest.mark.parametrize(
    ("structure", "mirrors"), [("strong", True), ("reasonable", True), ("weak", True), ("untrained", False)]
)
def test_only_clusters_of_the_untrained_network_do_not_mirror_what_it_learned(
    structure: Structure, mirrors: bool
) -> None:
    attribute = attribute_of(torch.arange(12) % 3)
    changed = replace(attribute, clustering=replace(attribute.clustering, structure=structure))
    assert changed.mirrors_network is mirrors
