import copy

import pytest
import torch
from torch import nn

from prusc.errors import ModelError
from prusc.masks import BinaryMask, apply_mask
from tests.networks import Recurrent, Tied, generator, randomise


def mask_of(**tensors: list[int]) -> BinaryMask:
    return BinaryMask({name: torch.tensor(kept, dtype=torch.bool) for name, kept in tensors.items()})


FIRST = mask_of(a=[1, 1, 0, 0], b=[1, 0])
SECOND = mask_of(a=[1, 0, 1, 0], b=[0, 0])


def as_lists(mask: BinaryMask) -> dict[str, list[int]]:
    return {name: kept.int().tolist() for name, kept in mask.tensors.items()}


def test_set_operations() -> None:
    assert as_lists(FIRST.union(SECOND)) == {"a": [1, 1, 1, 0], "b": [1, 0]}
    assert as_lists(FIRST.intersection(SECOND)) == {"a": [1, 0, 0, 0], "b": [0, 0]}
    assert as_lists(FIRST.inverse()) == {"a": [0, 0, 1, 1], "b": [0, 1]}
    assert as_lists(FIRST) == {"a": [1, 1, 0, 0], "b": [1, 0]}


def test_intersection_over_union_of_each_layer() -> None:
    assert FIRST.iou_per_layer(SECOND) == {"a": pytest.approx(1 / 3), "b": 0.0}
    assert FIRST.iou_per_layer(FIRST) == {"a": 1.0, "b": 1.0}
    assert mask_of(a=[0, 0]).iou_per_layer(mask_of(a=[0, 0])) == {"a": 1.0}


def test_density_weighs_the_layers_by_their_size() -> None:
    mask = mask_of(a=[1, 1, 1, 0], b=[0])
    assert mask.density == pytest.approx(3 / 5)
    assert mask.density_per_layer == {"a": 0.75, "b": 0.0}
    assert BinaryMask({}).density == 0


@pytest.mark.parametrize("operation", ["union", "intersection", "iou_per_layer"])
def test_masks_of_different_parameters_do_not_go_together(operation: str) -> None:
    with pytest.raises(ModelError, match="in one only: b, c"):
        getattr(FIRST, operation)(mask_of(a=[1, 1, 1, 1], c=[1]))


def test_the_order_of_the_parameters_does_not_matter() -> None:
    turned = BinaryMask(dict(reversed(list(SECOND.tensors.items()))))
    assert as_lists(FIRST.union(turned)) == as_lists(FIRST.union(SECOND))


def test_apply_mask_sets_pruned_weights_to_zero_and_no_others() -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    before = copy.deepcopy(model.state_dict())
    kept = torch.rand(3, 4, generator=generator()) < 0.5
    apply_mask(model, BinaryMask({"0.weight": kept}))
    assert torch.equal(model[0].weight, torch.where(kept, before["0.weight"], 0.0))
    assert (model[0].weight[~kept] == 0).all()
    assert 0 < kept.sum() < 12
    for name in ("0.bias", "1.weight", "1.bias"):
        assert torch.equal(model.state_dict()[name], before[name])
    assert model[0].weight.requires_grad


@pytest.mark.parametrize("name", ["first.weight", "second.weight"])
def test_a_shared_weight_may_go_by_either_name(name: str) -> None:
    model = randomise(Tied())
    kept = torch.eye(4).bool()
    apply_mask(model, BinaryMask({name: kept}))
    assert model.first.weight is model.second.weight
    assert (model.second.weight[~kept] == 0).all()
    assert (model.second.weight[kept] != 0).all()


def test_a_recurrent_layer_computes_with_the_masked_weights() -> None:
    model = randomise(Recurrent())
    apply_mask(model, BinaryMask({"lstm.weight_hh_l0": torch.zeros(16, 2, dtype=torch.bool)}))
    assert all(
        flat is getattr(model.lstm, n)
        for flat, n in zip(model.lstm._flat_weights, model.lstm._flat_weights_names, strict=True)
    )
    assert (model.lstm.weight_hh_l0 == 0).all()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (
            {"0.weight": torch.zeros(3, 4).bool(), "2.weight": torch.zeros(1).bool()},
            "'2.weight' that the model does not",
        ),
        ({"0.weight": torch.zeros(3, 4).bool(), "1.weight": torch.zeros(3).bool()}, r"'1.weight' has shape \(3,\)"),
    ],
)
def test_a_mask_that_does_not_fit_changes_nothing(tensors: dict[str, torch.Tensor], message: str) -> None:
    model = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(ModelError, match=message):
        apply_mask(model, BinaryMask(tensors))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
