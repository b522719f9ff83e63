import math
from dataclasses import dataclass

import pytest

from prusc.errors import ConfigError
from prusc.methods.settings import describe_settings, require_not_negative, require_positive, require_share


@dataclass(frozen=True)
class Settings:
    """Of a made-up remedy."""

    rate: float | None = 0.5
    steps: int = 3


@pytest.mark.parametrize(
    ("require", "good", "bad", "expected"),
    [
        (require_positive, (1e-9, 7), (0, -1, math.inf, math.nan), "greater than 0"),
        (require_not_negative, (0, 7), (-1e-9, math.inf, math.nan), "at least 0"),
        (require_share, (0, 0.5, 1), (-1e-9, 1.1, math.inf, math.nan), r"in \[0, 1\]"),
    ],
)
def test_a_number_out_of_range_is_refused_by_name(
    require: object, good: tuple[float, ...], bad: tuple[float, ...], expected: str
) -> None:
    assert callable(require)
    for value in (*good, None):
        require(Settings(rate=value), "rate")
    for value in bad:
        with pytest.raises(ConfigError, match=rf"^rate must be {expected}, found {value}$"):
            require(Settings(rate=value), "rate")
    # Only those that are named are looked at, and all of them.
    require(Settings(rate=-5.0))
    with pytest.raises(ConfigError, match=r"^rate must be greater than 0, found -5\.0$"):
        require_positive(Settings(rate=-5.0, steps=1), "steps", "rate")


def test_a_setting_is_called_by_what_differs_from_its_defaults() -> None:
    assert describe_settings(Settings()) == "defaults"
    assert describe_settings(Settings(rate=0.1)) == "rate=0.1"
    assert describe_settings(Settings(rate=None, steps=4)) == "rate=None, steps=4"
