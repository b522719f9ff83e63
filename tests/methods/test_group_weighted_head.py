import pytest
import torch

from prusc.errors import ConfigError
from prusc.methods.group_weighted_head import GROUP_WEIGHTED_HEAD, GroupWeightedHeadSettings
from prusc.stages.heads import fit_head
from tests.methods.inputs import make_inputs


def test_it_is_the_head_of_the_groups_balanced_and_judged_without_the_sample() -> None:
    inputs = make_inputs("dfr-l2")
    trained = GROUP_WEIGHTED_HEAD.train(inputs, GroupWeightedHeadSettings(l2=1.0))
    for key, value in inputs.trained.state_dict().items():
        assert torch.equal(trained.network.state_dict()[key], value) == (not key.startswith("head.")), key
    seen = inputs.represent(inputs.trained, inputs.val)
    assert inputs.val_groups is not None
    groups = inputs.val_groups.tolist()
    weights = torch.tensor([1 / groups.count(group) for group in groups])
    head = fit_head(seen.values, seen.labels, weights, num_classes=3, l2=1.0)
    torch.testing.assert_close(trained.network.head.weight.detach(), head.weight, atol=1e-3, rtol=1e-3)
    assert trained.facts["smallest_group"] == min(map(groups.count, groups))
    assert trained.val_logits is not None
    assert not torch.allclose(trained.val_logits, inputs.represent(trained.network, inputs.val).logits, atol=1e-3)


def test_no_regularisation_is_refused() -> None:
    with pytest.raises(ConfigError, match="l2 must be greater than 0, found 0"):
        GroupWeightedHeadSettings(l2=0)
