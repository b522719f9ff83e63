"""Which channels can be removed, and which have to stay, by hand."""

import sys
from typing import Any

import pytest
import timm
import torch
from torch import nn

from prusc.errors import ConfigError, ModelError
from prusc.models.channels import Channels, agree, find_channels
from prusc.models.head import find_head
from tests.models.shrinkable import EVERY_NETWORK, traced
from tests.networks import (
    NUM_CLASSES,
    Recurrent,
    Skip,
    Tied,
    Unshrinkable,
    generator,
    random_images,
    random_sequences,
    randomise,
    small_cnn,
)
from tests.traces import no_trace


def find(model: nn.Module, inputs: Any, **options: Any) -> Channels:
    return find_channels(model, inputs, head_name=find_head(model, inputs), **options)


def layers(channels: Channels) -> dict[str, tuple[int, set[str], set[str]]]:
    return {group.name: (group.size, set(group.written), set(group.read)) for group in channels.groups}


def test_layers_that_are_added_are_one_group_and_concatenated_ones_are_read_at_an_offset() -> None:
    _, _, channels = traced("skip")
    assert channels.whole == {}
    by_size = {group.size: group for group in channels.groups}
    assert by_size.keys() == {8, 12}
    assert set(by_size[8].written) == {"stem", "inner", "norm"}
    assert set(by_size[8].read) == {"inner", "last", "head"}
    assert (set(by_size[12].written), set(by_size[12].read)) == ({"last"}, {"head"})
    in_head = by_size[8].read["head"]
    assert dict(zip(in_head.positions.tolist(), in_head.units.tolist(), strict=True)) == {12 + u: u for u in range(8)}


def test_a_unit_of_a_convolution_in_groups_is_one_of_its_groups() -> None:
    _, _, channels = traced("grouped")
    assert channels.whole == {}
    group = next(group for group in channels.groups if group.size == 4)
    assert set(group.written) == {"first", "grouped", "gate"}
    assert set(group.read) == {"squeeze", "last"}
    assert group.written["first"].units.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    places = group.written["grouped"]
    assert places.units[places.positions.argsort()].tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]
    assert {group.size for group in channels.groups} == {4, 5, 6}


def test_of_a_transformer_heads_and_hidden_units_can_go_and_the_stream_stays() -> None:
    _, _, channels = traced("vit")
    assert {name: size for name, (size, _, _) in layers(channels).items()} == {
        "blocks.0.attn.qkv": 3,
        "blocks.0.mlp.fc1": 768,
    }
    assert {"patch_embed.proj", "blocks.0.attn.proj", "blocks.0.mlp.fc2"} <= channels.whole.keys()
    assert all("norm" in reason for reason in channels.whole.values())
    heads = next(group for group in channels.groups if group.size == 3)
    qkv = heads.written["blocks.0.attn.qkv"]
    # Query, key and value of 64 numbers for each of three heads.
    for position in (0, 63, 64, 191, 192, 256, 575):
        assert int(qkv.units[position]) == position % 192 // 64


def test_what_has_to_stay_is_named_with_its_reason() -> None:
    channels = find(randomise(Unshrinkable()), torch.randn(3, 3, generator=generator()))
    assert {group.name for group in channels.groups} == {"free"}
    assert channels.whole == {
        "normed": "the norm norm spans its channels",
        "fixed": "its number of channels is fixed in the network",
    }


def test_shared_weights_and_layers_of_another_kind_stay() -> None:
    tied = find(randomise(Tied()), torch.tensor([[0, 1, 2], [3, 4, 4]]))
    assert tied.groups == ()
    recurrent = find(randomise(Recurrent()), random_sequences(3))
    assert recurrent.groups == ()


@EVERY_NETWORK
def test_no_group_writes_the_classes_and_each_has_a_reader(name: str) -> None:
    model, inputs, channels = traced(name)
    head = find_head(model, inputs)
    assert channels.groups
    for group in channels.groups:
        assert head not in group.written
        assert group.read
        for places in (*group.written.values(), *group.read.values()):
            assert set(places.units.tolist()) <= set(range(group.size))
            assert len(places.positions) == len(set(places.positions.tolist()))


def test_patterns_choose_whole_groups() -> None:
    model, inputs = small_cnn(), random_images(2, 12)
    assert len(find(model, inputs, exclude=("head.*",)).groups) == 2
    excluded = find(model, inputs, exclude=("encoder.3.weight",))
    assert [group.name for group in excluded.groups] == ["encoder.6"]
    assert excluded.whole == dict.fromkeys(("encoder.0", "encoder.3"), "masks.exclude names encoder.3.weight")
    only = find(model, inputs, include=("encoder.*",))
    assert {group.name for group in only.groups} == {"encoder.0", "encoder.3"}
    assert only.whole == {"encoder.6": "masks.include does not name head.weight"}


def test_the_network_is_not_changed() -> None:
    model, inputs = randomise(Skip()).train(), random_images(2, 8)
    model.stem.requires_grad_(False)
    with no_trace(model):
        find(model, inputs)


def test_without_the_package_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    with pytest.raises(ConfigError, match=r"pip install 'prusc\[compact\]'"):
        find(small_cnn(), random_images(2, 12))


def test_a_network_that_cannot_be_traced_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch_pruning

    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("why")

    monkeypatch.setattr(torch_pruning.DependencyGraph, "build_dependency", fail)
    with pytest.raises(ModelError, match=r"SmallCNN cannot be traced \(ZeroDivisionError: why\); learn one mask logit"):
        find(small_cnn(), random_images(2, 12))


def test_outputs_agree_if_they_differ_by_rounding_only() -> None:
    values = torch.tensor([[100.0, -3.0]])
    assert agree(values + 0.01, values)
    assert not agree(values + 0.2, values)
    assert not agree(values * torch.nan, values)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["convnext_tiny", "vit_small_patch16_224", "resnext26ts", "efficientnet_b0"])
def test_published_architectures_have_channels_that_can_go(name: str) -> None:
    model = timm.create_model(name, num_classes=NUM_CLASSES).eval()
    channels = find(model, random_images(2, 224 if "vit" in name else 64))
    # All but the residual streams behind layer norms.
    assert len(channels.groups) >= {"convnext_tiny": 18, "vit_small_patch16_224": 24}.get(name, 10)
    assert not any("fixed" in reason for reason in channels.whole.values())
