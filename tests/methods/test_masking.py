"""DCWP and MRM."""

import pytest
import torch
from torch import nn

from prusc.errors import ConfigError
from prusc.methods import MethodInputs
from prusc.methods.dcwp import DCWP, DCWPSettings
from prusc.methods.masking import MaskingSettings, conflicting_samples, learn_mask, masked_samples
from prusc.methods.mrm import MRM, MRMSettings
from tests.methods.inputs import make_inputs

FAST = {"initial_logit": 0.0, "mask_learning_rate": 0.1, "mask_steps": 5}


@pytest.fixture(scope="module")
def inputs() -> MethodInputs:
    return make_inputs("dcwp")


def pruned(network: nn.Module, inputs: MethodInputs, settings: MaskingSettings, **contrast: float) -> float:
    """The largest weight that the mask of these settings prunes."""
    chosen = conflicting_samples(inputs, settings)
    if settings.mask_upweight == 1:
        chosen = torch.zeros_like(chosen)
    mask = learn_mask(inputs, settings, masked_samples(inputs, settings, chosen), **contrast)
    assert 0.1 < mask.density < 0.9
    weights = dict(network.named_parameters())
    return max(weights[name][~kept].abs().max().item() for name, kept in mask.tensors.items())


def test_conflicting_samples_are_drawn_so_many_times_as_often(inputs: MethodInputs) -> None:
    chosen = torch.arange(len(inputs.train)) < 6
    weights = masked_samples(inputs, MaskingSettings(mask_upweight=20.0), chosen).weights
    assert (weights[0] / weights[-1]).item() == pytest.approx(20, rel=1e-5)
    assert weights.sum().item() == pytest.approx(1, rel=1e-5)


def test_dcwp_trains_what_its_mask_leaves(inputs: MethodInputs) -> None:
    settings = DCWPSettings(**FAST)
    trained = DCWP.train(inputs, settings)
    assert 0.1 < trained.density < 0.9
    assert pruned(trained.network, inputs, settings, contrast=0.05) == 0
    before = dict(inputs.trained.named_parameters())["head.weight"]
    after = dict(trained.network.named_parameters())["head.weight"]
    assert (after[after != 0] != before[after != 0]).any()


def test_its_contrast_has_a_say_in_the_mask(inputs: MethodInputs) -> None:
    settings = MaskingSettings(**FAST)
    chosen = torch.arange(len(inputs.train)) % 3 == 0
    masks = [
        learn_mask(inputs, settings, masked_samples(inputs, settings, chosen), contrast=contrast)
        for contrast in (0.0, 0.0, 5.0)
    ]
    same = [all(torch.equal(mask.tensors[name], kept) for name, kept in masks[0].tensors.items()) for mask in masks[1:]]
    assert same == [True, False]


def test_mrm_goes_back_to_the_start_under_its_mask(inputs: MethodInputs, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = MRMSettings(**FAST)
    monkeypatch.setattr(MethodInputs, "fit", lambda _self, model, *_, **__: model)
    trained = MRM.train(inputs, settings)
    assert trained.facts["num_conflicting"] == 0
    start = dict(inputs.untrained.named_parameters())
    for name, weight in trained.network.named_parameters():
        kept = weight != 0
        assert torch.equal(weight[kept], start[name][kept]), name
    assert pruned(trained.network, inputs, settings) == 0


@pytest.mark.parametrize("values", [{"mask_upweight": 0.0}, {"temperature": 0.0}, {"finetune_share": -1.0}])
def test_settings_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(values))} must be greater than 0, found"):
        DCWPSettings(**values)
