"""Overlaps of masks against a count weight by weight."""

import pytest
import torch

from prusc.errors import ConfigError, ModelError
from prusc.masks import BinaryMask
from prusc.stages.evaluation import wilson_interval
from prusc.stages.modularity import ALL_LAYERS, FunctionMasks, compare_masks, stability
from prusc.stages.modularity.comparison import mean_iou
from tests.reference import modularity as reference
from tests.stages.modularity.cases import random_masks

NAMES = ("a", "b", "c")


@pytest.mark.parametrize("layer", ["one", "two", None])
def test_overlaps_and_shares_are_those_of_the_slow_twin(layer: str | None) -> None:
    masks = random_masks()
    plain = {name: mask.tensors for name, mask in masks.items()}
    found = compare_masks(masks, controls=("c",))
    title = layer or ALL_LAYERS
    for first, second in (("a", "b"), ("a", "c"), ("c", "b")):
        overlap = found.overlap(first, second, title)
        assert (overlap.iou, overlap.subsetness) == pytest.approx(reference.overlap(plain[first], plain[second], layer))
    for name in NAMES:
        share = found.share(name, title)
        assert share.num_shared == reference.shared(plain, name, layer, ("a", "b"))
        assert share.num_in_controls == reference.shared(plain, name, layer, ("c",))
        assert share.num_kept == sum(int(t.sum()) for key, t in plain[name].items() if layer in (None, key))
        assert share.share == share.num_shared / share.num_kept
        assert share.density == pytest.approx(share.num_kept / share.num_weights)
    assert found.layers == ("one", "two", ALL_LAYERS)


def test_two_seeds_are_compared_function_by_function() -> None:
    first, second = random_masks(seed=1), random_masks(seed=2)
    found = stability(FunctionMasks(first, {}, ()), second)
    assert [(o.layer, o.first) for o in found] == [
        (layer, name) for name in NAMES for layer in ("one", "two", ALL_LAYERS)
    ]
    for overlap in found:
        layer = None if overlap.layer == ALL_LAYERS else overlap.layer
        iou, _ = reference.overlap(first[overlap.first].tensors, second[overlap.first].tensors, layer)
        assert overlap.iou == pytest.approx(iou)


def test_intervals_are_wilsons_and_the_table_has_them() -> None:
    found = compare_masks(random_masks())
    overlap = found.overlap("a", "b")
    assert overlap.iou_ci95 == wilson_interval(overlap.num_both, overlap.num_either)
    smaller = min(overlap.num_first, overlap.num_second)
    assert overlap.subsetness_ci95 == wilson_interval(overlap.num_both, smaller)
    table = found.to_frame()
    assert len(table) == 3 * 3
    assert ((table.iou_low <= table.iou) & (table.iou <= table.iou_high)).all()
    share = found.share("a")
    assert share.share_ci95 == wilson_interval(share.num_shared, share.num_kept)
    assert "3 masks, 2 layers" in found._repr_html_()


def test_the_limits_of_a_mean_are_the_means_of_the_limits() -> None:
    overlaps = [o for o in compare_masks(random_masks()).overlaps if o.layer == ALL_LAYERS]
    mean, (low, high) = mean_iou(overlaps)
    assert len(overlaps) == 3
    assert mean == pytest.approx(sum(o.iou for o in overlaps) / 3)
    assert low == pytest.approx(sum(o.iou_ci95[0] for o in overlaps) / 3)
    assert high == pytest.approx(sum(o.iou_ci95[1] for o in overlaps) / 3)
    # That of one pair is its own.
    assert mean_iou(overlaps[:1]) == (overlaps[0].iou, overlaps[0].iou_ci95)


def test_empty_masks_are_defined() -> None:
    empty = BinaryMask({"w": torch.zeros(3, dtype=torch.bool)})
    full = BinaryMask({"w": torch.ones(3, dtype=torch.bool)})
    found = compare_masks({"empty": empty, "also": empty, "full": full})
    assert (found.overlap("empty", "also").iou, found.overlap("empty", "also").subsetness) == (1, 1)
    assert (found.overlap("empty", "full").iou, found.overlap("empty", "full").subsetness) == (0, 1)
    assert found.overlap("empty", "also").iou_ci95 == (0, 1)
    assert found.share("empty").share == 0


def test_masks_that_cannot_be_compared_are_refused() -> None:
    masks = random_masks()
    with pytest.raises(ConfigError, match="at least two masks, found 1"):
        compare_masks({"a": masks["a"]})
    with pytest.raises(ConfigError, match="control 'd' is not among the masks a, b, c"):
        compare_masks(masks, controls=("d",))
    with pytest.raises(ModelError, match="'a' and 'b' cover different parameters"):
        compare_masks({"a": masks["a"], "b": BinaryMask({"one": masks["b"].tensors["one"]})})
    with pytest.raises(ConfigError, match="different functions: a, b, c; a, b"):
        stability(masks, random_masks(("a", "b")))
