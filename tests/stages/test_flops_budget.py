import itertools

import pytest
import torch

from prusc.errors import ConfigError
from prusc.masks import ChannelMaskedModel
from prusc.models.flops import count_flops
from prusc.stages.flops_budget import fit_budget
from tests.masks.cases import scatter_logits
from tests.models.shrinkable import traced


def masked_small_cnn() -> ChannelMaskedModel:
    model, _, channels = traced("small-cnn")
    masked = ChannelMaskedModel(model, channels.groups, head_name="head")
    scatter_logits(masked)
    return masked


def test_a_mask_within_the_budget_stays_and_another_loses_the_weakest_channels() -> None:
    masked = masked_small_cnn()
    flops = count_flops(masked.model, torch.zeros(1, 3, 12, 12))
    natural = masked.binary_mask()
    loose = fit_budget(masked, flops, 1.0)
    assert all(torch.equal(kept, natural.tensors[name]) for name, kept in loose.tensors.items())
    every = torch.cat([logits.detach() for logits in masked.mask_logits])
    for budget in (0.15, 0.1, 0.05):
        found = flops.share(fit_budget(masked, flops, budget))
        # The slow way: every threshold in turn.
        thresholds = sorted(value for value in every.tolist() if value >= 0)
        shares = (flops.share(masked.binary_mask(threshold)) for threshold in thresholds)
        assert found == next(itertools.dropwhile(lambda share, most=budget: share > most, shares))
        assert found <= budget < flops.share(natural)


def test_a_budget_below_one_channel_per_layer_is_refused() -> None:
    masked = masked_small_cnn()
    flops = count_flops(masked.model, torch.zeros(1, 3, 12, 12))
    with pytest.raises(ConfigError, match=r"masks.budget_flops is 0.0001, but 0.0\d\d of the operations"):
        fit_budget(masked, flops, 0.0001)
