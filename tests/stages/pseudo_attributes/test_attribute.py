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
    ("structure", "mirrors"),
    [("strong", True), ("reasonable", True), ("weak", True), ("untrained", False), ("predicted", False)],
)
def test_clusters_of_a_network_that_has_learned_the_classes_mirror_it_and_nothing_else_does(
    structure: Structure, mirrors: bool
) -> None:
    attribute = attribute_of(torch.arange(12) % 3)
    changed = replace(attribute, clustering=replace(attribute.clustering, structure=structure))
    assert changed.mirrors_network is mirrors
