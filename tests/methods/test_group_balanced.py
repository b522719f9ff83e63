import pytest
import torch

from prusc.methods import MethodInputs
from prusc.methods.group_balanced import GROUP_BALANCED, GroupBalancedSettings
from tests.methods.inputs import make_inputs


@pytest.mark.parametrize("sampling", ["draw", "subsample"])
def test_every_group_is_drawn_as_often(sampling: str, monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs("group-balanced")
    assert inputs.train_groups is not None
    asked: list[torch.Tensor] = []
    draws = MethodInputs.draws

    def spy(self: MethodInputs, name: str, num_steps: int, weights: torch.Tensor) -> object:
        asked.append(weights)
        return draws(self, name, num_steps, weights)

    monkeypatch.setattr(MethodInputs, "draws", spy)
    trained = GROUP_BALANCED.train(inputs, GroupBalancedSettings(sampling=sampling, share=0.5))
    shares = torch.zeros(inputs.num_groups).index_add(0, inputs.train_groups, asked[0])
    present = shares[shares > 0]
    assert len(present) == len(inputs.train_groups.unique()) > inputs.num_classes
    torch.testing.assert_close(present, present[:1].expand_as(present))
    smallest = int(torch.bincount(inputs.train_groups)[inputs.train_groups.unique()].min())
    expected = len(inputs.train) if sampling == "draw" else smallest * len(present)
    assert trained.facts["num_samples"] == expected
