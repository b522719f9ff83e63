from dataclasses import replace

import torch

from prusc.stages.pseudo_attributes.given import given_clustering
from prusc.stages.selection.texts import describe_selection
from tests.networks import generator


def test_untrained_clusters_change_what_is_said_of_the_rule_and_only_prusc_has_subnetworks() -> None:
    trained = given_clustering(torch.randn(10, 3, generator=generator()), torch.arange(10) % 2)
    untrained = replace(trained, structure="untrained")
    plain, ours = (describe_selection("pseudo-groups", clustering) for clustering in (trained, untrained))
    assert "the whole network is then preferred to a subnetwork" in ours
    assert "then preferred" not in plain
    of_settings = describe_selection("pseudo-groups", untrained, of_settings=True)
    assert "the cells judge first: a cell's accuracy" in of_settings
    assert "subnetwork" not in of_settings
    held_out = describe_selection("pseudo-groups", untrained, held_out_heads=True)
    assert held_out.startswith(ours)
    assert "fitted on validation samples and scored by k-fold cross-validation" in held_out
    assert "validation samples and" not in ours
    for rule in ("class-accuracy", "validation-groups"):
        assert describe_selection(rule, untrained) == describe_selection(rule, trained)
