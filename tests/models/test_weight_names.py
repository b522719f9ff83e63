"""The names are tried in a fixed order, so names that fit as they are never change."""

import torch
from torch import Tensor

from prusc.models.weight_names import fit_names, is_note


def state(*names: str) -> dict[str, Tensor]:
    return {name: torch.full((2, 3) if name.endswith("weight") else (2,), float(at)) for at, name in enumerate(names)}


def test_names_that_fit_win_over_names_below_a_prefix() -> None:
    own = state("conv.weight", "model.conv.weight")
    weights = state("conv.weight", "model.conv.weight", "model.model.conv.weight")
    assert {name: value[0, 0].item() for name, value in fit_names(own, weights).items() if name in own} == {
        "conv.weight": 0.0,
        "model.conv.weight": 1.0,
    }


def test_a_head_beside_the_backbone_takes_the_name_of_the_networks_own() -> None:
    own = state("conv.weight", "fc.weight", "fc.bias")
    weights = state("backbone.conv.weight", "classifier.weight", "classifier.bias")
    found = fit_names(own, weights)
    assert {name: value.flatten()[0].item() for name, value in found.items()} == {
        "conv.weight": 0.0,
        "fc.weight": 1.0,
        "fc.bias": 2.0,
    }


def test_what_is_no_head_keeps_its_name() -> None:
    own = state("conv.weight", "fc.weight", "fc.bias")
    for others in (("a.weight", "b.bias"), ("a.weight",), ("a.weight", "a.bias", "c.weight")):
        found = fit_names(own, state("backbone.conv.weight", *others))
        assert "fc.weight" not in found


def test_counters_are_notes() -> None:
    assert all(map(is_note, ("bn.num_batches_tracked", "total_ops", "a.b.total_params", "n_averaged")))
    assert not is_note("bn.running_mean")
    own = state("conv.weight") | {"bn.num_batches_tracked": torch.tensor(3)}
    assert list(fit_names(own, state("conv.weight", "total_ops"))) == ["conv.weight"]
