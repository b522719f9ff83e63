import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from prusc.masks.replaced_tensors import TensorPlaces
from tests.masks.cases import EVERY_NETWORK, make
from tests.networks import Tied
from tests.traces import no_trace


@EVERY_NETWORK
def test_a_call_with_replaced_tensors_is_pytorchs_functional_call(name: str) -> None:
    model, inputs = make(name)
    places = TensorPlaces(model)
    assert places.parameter_names == tuple(key for key, _ in model.named_parameters())
    assert places.buffer_names == tuple(key for key, _ in model.named_buffers())
    others = {key: places[key].detach() * 1.5 for key in (*places.parameter_names, *places.buffer_names)}
    with no_trace(model), torch.no_grad():
        with places.replaced(others):
            found = model(inputs)
        assert torch.equal(found, functional_call(model, others, inputs))
        assert not torch.equal(found, model(inputs))


def test_a_shared_weight_is_replaced_everywhere_and_put_back_after_an_error() -> None:
    model = Tied()
    own, other = model.first.weight, torch.zeros(4, 4)

    def fail() -> None:
        with TensorPlaces(model).replaced({"first.weight": other}):
            assert model.first.weight is other
            assert model.second.weight is other
            raise RuntimeError("inside")

    with pytest.raises(RuntimeError, match="inside"):
        fail()
    assert model.first.weight is own
    assert model.second.weight is own


def test_a_copy_has_places_in_its_own_network() -> None:
    both = (nn.Linear(2, 2), None)
    model, places = copy.deepcopy((both[0], TensorPlaces(both[0])))
    with places.replaced({"weight": torch.zeros(2, 2)}):
        assert (model.weight == 0).all()
        assert (both[0].weight != 0).any()
