import pytest
import torch

from prusc.errors import ConfigError
from prusc.methods import MethodInputs
from prusc.methods.jtt import JTT, JTTSettings
from tests.methods.inputs import make_inputs


def test_mistakes_are_drawn_so_many_times_as_often_in_fewer_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = make_inputs("jtt")
    asked: list[tuple[int, torch.Tensor]] = []
    draws = MethodInputs.draws

    def spy(self: MethodInputs, name: str, num_steps: int, weights: torch.Tensor) -> object:
        asked.append((num_steps, weights))
        return draws(self, name, num_steps, weights)

    monkeypatch.setattr(MethodInputs, "draws", spy)
    for settings in (JTTSettings(upweight=7, share=0.5), JTTSettings()):
        trained = JTT.train(inputs, settings)
    (half, weights), (whole, _) = asked
    assert whole == inputs.config.erm.epochs * inputs.steps_per_epoch == 2 * half
    assert set(weights.tolist()) <= {1.0, 7.0}
    assert int((weights == 7).sum()) == trained.facts["num_mistakes"]
    assert 0 < trained.facts["num_mistakes"] < len(inputs.train)


@pytest.mark.parametrize("name", ["upweight", "share", "identification_epochs"])
def test_settings_out_of_range_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be greater than 0, found 0"):
        JTTSettings(**{name: 0})
