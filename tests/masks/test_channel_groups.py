import pytest
import torch
from torch import nn

from prusc.errors import ModelError
from prusc.masks import ChannelGroup, ChannelMap, channel_mask

NETWORK = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(6, 2))
# Each unit is read at two places, as after a flattening.
GROUP = ChannelGroup(
    "0",
    3,
    {"0": ChannelMap(torch.arange(3), torch.arange(3)), "1": ChannelMap(torch.arange(3), torch.arange(3))},
    {"2": ChannelMap(torch.arange(6), torch.arange(3).repeat_interleave(2))},
)


def test_the_rows_that_write_and_the_columns_that_read_a_unit_are_pruned() -> None:
    mask = channel_mask(NETWORK, [GROUP], [torch.tensor([True, False, True])])
    assert set(mask.tensors) == {"0.weight", "2.weight"}
    assert mask.tensors["0.weight"].tolist() == [[True] * 2, [False] * 2, [True] * 2]
    assert mask.tensors["2.weight"].tolist() == [[True, True, False, False, True, True]] * 2
    whole = channel_mask(NETWORK, [GROUP], [torch.ones(3, dtype=torch.bool)])
    assert whole.density == 1


def test_a_layer_between_two_groups_loses_rows_and_columns() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 1))
    same = ChannelMap(torch.arange(2), torch.arange(2))
    groups = [ChannelGroup("0", 2, {"0": same}, {"1": same}), ChannelGroup("1", 2, {"1": same}, {"2": same})]
    kept = [torch.tensor([True, False]), torch.tensor([False, True])]
    assert channel_mask(network, groups, kept).tensors["1.weight"].tolist() == [[False, False], [True, False]]


def test_a_layer_that_is_missing_is_named() -> None:
    with pytest.raises(ModelError, match="has no layer '2'"):
        channel_mask(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), [GROUP], [torch.ones(3, dtype=torch.bool)])
