import pytest
import torch
from torch import nn

from prusc.methods import MethodInputs
from prusc.methods.mrm import MRM, MRMSettings
from tests.methods.inputs import make_inputs
from tests.methods.masks import FAST, largest_pruned_weight


@pytest.fixture
def inputs(monkeypatch: pytest.MonkeyPatch) -> MethodInputs:
    """Inputs that train nothing after ERM."""
    made = make_inputs("mrm")
    monkeypatch.setattr(MethodInputs, "fit", lambda _self, model, *_, **__: model)
    return made


def test_it_goes_back_to_the_start_under_its_mask(inputs: MethodInputs) -> None:
    settings = MRMSettings(**FAST)
    trained = MRM.train(inputs, settings)
    assert trained.facts["num_conflicting"] == 0
    start = dict(inputs.untrained.named_parameters())
    for name, weight in trained.network.named_parameters():
        kept = weight != 0
        assert torch.equal(weight[kept], start[name][kept]), name
    assert largest_pruned_weight(trained.network, inputs, settings) == 0


def test_only_an_upweight_other_than_one_asks_for_conflicting_samples(
    inputs: MethodInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = torch.arange(len(inputs.train)) < 6
    monkeypatch.setattr("prusc.methods.mrm.conflicting_samples", lambda *_: chosen)
    favouring, plain = (
        MRM.train(inputs, MRMSettings(**FAST, mask_upweight=upweight)).facts["num_conflicting"]
        for upweight in (20.0, 1.0)
    )
    assert (favouring, plain) == (6, 0)


def test_it_trains_under_the_mask_as_long_as_erm(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, settings = make_inputs("mrm"), MRMSettings(**FAST)
    asked: list[int] = []
    epochs = MethodInputs.epochs

    def spy(self: MethodInputs, name: str, num_epochs: int) -> object:
        asked.append(num_epochs)
        return epochs(self, name, num_epochs)

    monkeypatch.setattr(MethodInputs, "epochs", spy)
    network: nn.Module = MRM.train(inputs, settings).network
    assert asked == [inputs.config.erm.epochs]
    assert largest_pruned_weight(network, inputs, settings) == 0
    start = dict(inputs.untrained.named_parameters())["head.weight"]
    after = dict(network.named_parameters())["head.weight"]
    assert (after[after != 0] != start[after != 0]).any()
