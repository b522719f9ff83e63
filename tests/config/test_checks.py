import math

import pytest

from prusc.config.checks import require, require_rate
from prusc.errors import ConfigError


def test_a_condition_that_holds_passes() -> None:
    require(True, "masks.steps", 0, "at least 1")


def test_the_message_names_setting_expectation_and_value() -> None:
    with pytest.raises(ConfigError) as caught:
        require(False, "runtime.device", "gpu", "'cpu' or 'cuda'")
    assert str(caught.value) == "runtime.device must be 'cpu' or 'cuda', found 'gpu'"


@pytest.mark.parametrize("rate", [0.0, -1e-3, 1.1e30, math.inf, -math.inf, math.nan])
def test_a_rate_that_no_optimiser_can_use_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match=r"erm\.learning_rate must be in \(0, 1e30\], found"):
        require_rate("erm.learning_rate", rate)


@pytest.mark.parametrize("rate", [5e-324, 1e-3, 1.0, 1e30])
def test_any_other_rate_is_accepted(rate: float) -> None:
    require_rate("erm.learning_rate", rate)
