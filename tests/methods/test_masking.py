import dataclasses
import math

import pytest
import torch

from prusc.errors import ConfigError
from prusc.methods import MethodInputs
from prusc.methods.masking import MaskingSettings, conflicting_samples, learn_mask, masked_samples
from tests.methods.inputs import make_inputs
from tests.methods.masks import FAST


@pytest.fixture(scope="module")
def inputs() -> MethodInputs:
    return make_inputs("dcwp")


def test_conflicting_samples_are_drawn_so_many_times_as_often(inputs: MethodInputs) -> None:
    chosen = torch.arange(len(inputs.train)) < 6
    samples = masked_samples(inputs, MaskingSettings(mask_upweight=20.0), chosen)
    weights = samples.weights
    assert (weights[0] / weights[-1]).item() == pytest.approx(20, rel=1e-5)
    assert weights.sum().item() == pytest.approx(1, rel=1e-5)
    # The contrast of the masks sees two values: aligned and conflicting.
    assert samples.cells.attribute_ids.tolist() == chosen.long().tolist()


def test_the_settings_say_which_biased_network_finds_them(
    inputs: MethodInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, float]] = []

    def find(_inputs: MethodInputs, *, num_epochs: int, q: float) -> torch.Tensor:
        asked.append((num_epochs, q))
        return torch.zeros(len(inputs.train), dtype=torch.bool)

    monkeypatch.setattr("prusc.methods.masking.find_conflicting", find)
    conflicting_samples(inputs, MaskingSettings(biased_share=0.6, q=0.4))
    conflicting_samples(inputs, MaskingSettings(biased_share=0.01))
    assert asked == [(1, 0.4), (1, 0.7)]


def test_the_contrast_has_a_say_in_the_mask(inputs: MethodInputs) -> None:
    settings = MaskingSettings(**FAST)
    chosen = torch.arange(len(inputs.train)) % 3 == 0
    masks = [
        learn_mask(inputs, settings, masked_samples(inputs, settings, chosen), contrast=contrast)
        for contrast in (0.0, 0.0, 5.0)
    ]
    same = [all(torch.equal(mask.tensors[name], kept) for name, kept in masks[0].tensors.items()) for mask in masks[1:]]
    assert same == [True, False]


def test_masks_are_learned_for_as_long_as_asked_and_leave_the_erm_network_alone(
    inputs: MethodInputs, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {name: value.clone() for name, value in inputs.trained.state_dict().items()}
    steps: list[int] = []
    monkeypatch.setattr(type(inputs.progress), "advance", lambda _self, _task, done, _total: steps.append(done))
    settings = MaskingSettings(**{**FAST, "mask_steps": 12})
    samples = masked_samples(inputs, settings, torch.zeros(len(inputs.train), dtype=torch.bool))
    learn_mask(inputs, settings, samples)
    assert max(steps) == 12 > inputs.num_steps(1.0)
    for name, value in inputs.trained.state_dict().items():
        assert torch.equal(value, before[name]), name


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("biased_share", 0, "greater than 0"),
        ("mask_upweight", 0.0, "greater than 0"),
        ("mask_steps", 0, "greater than 0"),
        ("mask_learning_rate", -1.0, "greater than 0"),
        ("q", 1.5, r"in \[0, 1\]"),
        ("sparsity", -1e-8, "at least 0"),
        ("initial_logit", math.inf, "a finite number"),
    ],
)
def test_settings_out_of_range_are_refused(name: str, value: float, expected: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} must be {expected}, found {value}"):
        dataclasses.replace(MaskingSettings(), **{name: value})
