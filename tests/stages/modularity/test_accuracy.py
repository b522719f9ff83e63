"""Accuracies under masks against a copy of the network with other weights, sample by sample."""

import pytest
import torch
from torch import Tensor, nn

from prusc.errors import ConfigError, DataError, ModelError
from prusc.masks import BinaryMask
from prusc.stages.evaluation import wilson_interval
from prusc.stages.modularity import (
    IGNORED,
    NO_MASK,
    Examples,
    cross_accuracy,
    half_mask_test,
    inverse_accuracy,
)
from prusc.stages.modularity.accuracy import _random_half
from tests.networks import generator
from tests.reference import modularity as reference
from tests.stages.modularity.cases import TwoBlocks, block_masks, questions, random_masks, two_functions
from tests.traces import no_trace


def count_right(model: TwoBlocks, mask: BinaryMask, data: Examples) -> int:
    state = model.state_dict()
    weights = {name: state[name] * kept for name, kept in mask.tensors.items()}
    assert isinstance(data.inputs, Tensor)
    return reference.accuracy_with_weights(model, weights, data.inputs, data.labels)


def test_the_matrix_is_that_of_the_slow_twin() -> None:
    model, functions = TwoBlocks(), {**two_functions(), "both": questions()}
    with no_trace(model):
        found = cross_accuracy(model, block_masks(), functions)
    assert [(e.mask, e.function) for e in found.entries[:4]] == [
        *((NO_MASK, name) for name in functions),
        ("first", "first"),
    ]
    for name, mask in block_masks().items():
        for function, data in functions.items():
            entry = found.get(name, function)
            assert entry.num_right == count_right(model, mask, data)
            assert entry.ci95 == wilson_interval(entry.num_right, entry.num_samples)
    assert found.get(NO_MASK, "both").accuracy == found.get("first", "first").accuracy == 1
    assert found.get("first", "second").accuracy < 0.8
    assert len(found.to_frame()) == 9
    assert "3 masks, 3 functions" in found._repr_html_()


@pytest.mark.parametrize("edges", ["inverted", "full", "ones"])
def test_the_inverse_keeps_the_edges_as_asked(edges: str) -> None:
    model, functions, masks = TwoBlocks(), two_functions(), block_masks()
    found = inverse_accuracy(model, masks, functions, edges=edges, edge_layers=("first.*",))
    union = masks["first"].union(masks["second"])
    for name, mask in masks.items():
        kept = {
            "inverted": ~mask.tensors["first.weight"],
            "full": union.tensors["first.weight"],
            "ones": torch.ones(4, 2, dtype=torch.bool),
        }[edges]
        expected = BinaryMask({"first.weight": kept, "last.weight": ~mask.tensors["last.weight"]})
        for function, data in functions.items():
            assert found.get(name, function).num_right == count_right(model, expected, data)
    # Without the weights of one function the other one still works.
    assert found.get("first", "second").accuracy == 1
    assert found.get("first", "first").accuracy < 0.8


def test_the_edges_are_the_first_and_the_last_layer_if_not_named() -> None:
    model, masks = TwoBlocks(), block_masks()
    found = inverse_accuracy(model, masks, two_functions(), edges="ones")
    assert found.get("first", "first").accuracy == 1
    given = inverse_accuracy(model, masks, two_functions(), edges="full", full=masks["second"])
    assert given.get("first", "first").accuracy < 0.8


def test_without_its_shared_or_private_weights_a_function_fails_on_what_needs_them() -> None:
    model = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(3))
    # Both need the weight of class 1. Half of one weight is that weight.
    masks = {
        "low": BinaryMask({"weight": torch.diag(torch.tensor([True, True, False]))}),
        "high": BinaryMask({"weight": torch.diag(torch.tensor([False, True, True]))}),
    }
    functions = {
        "low": Examples(torch.eye(3)[:2].repeat(5, 1), torch.arange(10) % 2),
        "high": Examples(torch.eye(3)[1:].repeat(5, 1), 1 + torch.arange(10) % 2),
    }
    with no_trace(model):
        low, high = half_mask_test(model, masks, functions, generator=generator())
    for result in (low, high):
        assert (result.num_shared, result.num_private, result.whole.num_right) == (1, 1, 10)
        assert result.without_shared.num_right == 5
    # Without any evidence the network says class 0.
    assert (low.without_private.num_right, high.without_private.num_right) == (10, 5)


def test_a_random_half_is_half_of_the_kept_weights() -> None:
    mask = random_masks()["a"]
    halves = [_random_half(mask, generator(seed)) for seed in (0, 0, 1)]
    num_kept = sum(int(kept.sum()) for kept in mask.tensors.values())
    for half in halves:
        assert sum(int(kept.sum()) for kept in half.tensors.values()) == (num_kept + 1) // 2
        assert half.intersection(mask).iou_per_layer(half) == {"one": 1.0, "two": 1.0}
    assert halves[0].iou_per_layer(halves[1]) == {"one": 1.0, "two": 1.0}
    assert halves[0].iou_per_layer(halves[2])["two"] < 1


def test_samples_without_an_output_that_counts_are_left_out() -> None:
    data = questions(10)
    labels = data.labels.clone()
    labels[:4] = IGNORED
    found = cross_accuracy(TwoBlocks(), {}, {"x": Examples(data.inputs, labels)})
    assert (found.entries[0].num_right, found.entries[0].num_samples) == (6, 6)


def test_bad_input_is_one_clear_error() -> None:
    model, masks, functions = TwoBlocks(), block_masks(), two_functions()
    with pytest.raises(DataError, match="no function was given"):
        cross_accuracy(model, masks, {})
    with pytest.raises(DataError, match="function 'x' has no samples"):
        cross_accuracy(model, masks, {"x": questions(0)})
    with pytest.raises(ModelError, match=r"mask of 'first.weight', of shape \(1,\), does not fit"):
        cross_accuracy(model, {"x": BinaryMask({"first.weight": torch.ones(1).bool()})}, functions)
    with pytest.raises(ConfigError, match=r"edge layer 'middle' matches none of the masked layers first.weight"):
        inverse_accuracy(model, masks, functions, edge_layers=("middle",))
    with pytest.raises(ConfigError, match="at least two masks, found 1"):
        half_mask_test(model, {"first": masks["first"]}, functions, generator=generator())
    with pytest.raises(ConfigError, match="no samples for the masks second"):
        half_mask_test(model, masks, {"first": functions["first"]}, generator=generator())


def test_a_wrapped_network_is_measured_as_the_one_inside() -> None:
    functions, masks = two_functions(), block_masks()
    expected = cross_accuracy(TwoBlocks(), masks, functions).entries
    assert cross_accuracy(nn.DataParallel(TwoBlocks()), masks, functions).entries == expected
