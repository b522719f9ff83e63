import pytest
import torch

from prusc.errors import ConfigError
from prusc.methods import MethodInputs
from prusc.methods.dcwp import DCWP, DCWPSettings
from tests.methods.inputs import make_inputs
from tests.methods.masks import FAST, largest_pruned_weight


def test_it_trains_what_its_mask_leaves(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs, settings = make_inputs("dcwp"), DCWPSettings(**FAST, finetune_share=0.5, finetune_upweight=9.0)
    asked: list[tuple[str, int, torch.Tensor]] = []
    draws = MethodInputs.draws

    def spy(self: MethodInputs, name: str, num_steps: int, weights: torch.Tensor) -> object:
        asked.append((name, num_steps, weights))
        return draws(self, name, num_steps, weights)

    monkeypatch.setattr(MethodInputs, "draws", spy)
    trained = DCWP.train(inputs, settings)
    assert 0.1 < trained.density < 0.9
    assert largest_pruned_weight(trained.network, inputs, settings, contrast=0.05) == 0
    before = dict(inputs.trained.named_parameters())["head.weight"]
    after = dict(trained.network.named_parameters())["head.weight"]
    assert (after[after != 0] != before[after != 0]).any()
    # Fine-tuning takes half of ERM's steps and draws conflicting samples nine times as often.
    [(name, num_steps, weights)] = asked
    assert (name, 2 * num_steps) == ("fine-tuning", inputs.config.erm.epochs * inputs.steps_per_epoch)
    assert set(weights.tolist()) <= {1.0, 9.0}
    assert int((weights == 9).sum()) == trained.facts["num_conflicting"]


@pytest.mark.parametrize("values", [{"mask_upweight": 0.0}, {"temperature": 0.0}, {"finetune_share": -1.0}])
def test_settings_out_of_range_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(values))} must be greater than 0, found"):
        DCWPSettings(**values)


def test_a_negative_contrast_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"contrast must be at least 0, found -0\.1"):
        DCWPSettings(contrast=-0.1)
