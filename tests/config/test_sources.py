from typing import Any

import pytest

from prusc.config import BiasedConfig, PseudoAttributeConfig, TwinsConfig
from prusc.errors import ConfigError

OUT_OF_RANGE: list[tuple[type, dict[str, Any]]] = [
    (TwinsConfig, {"draws": 0}),
    (TwinsConfig, {"steps": 0}),
    (TwinsConfig, {"learning_rates": (-3.0, -5.0)}),
    (TwinsConfig, {"weight_decays": (-3.0, -5.0)}),
    (TwinsConfig, {"batch_sizes": (-1.0, 2.0)}),
    (TwinsConfig, {"feature_length": 0.0}),
    (BiasedConfig, {"q": 0.0}),
    (BiasedConfig, {"q": 1.1}),
    (BiasedConfig, {"l2": 0.0}),
    (BiasedConfig, {"folds": 1}),
    (BiasedConfig, {"epochs": 0}),
    (PseudoAttributeConfig, {"l2": 0.0}),
    (PseudoAttributeConfig, {"folds": 1}),
]


@pytest.mark.parametrize(("config", "values"), OUT_OF_RANGE)
def test_values_out_of_range_are_refused(config: type, values: dict[str, Any]) -> None:
    config()
    with pytest.raises(ConfigError, match=rf"{next(iter(values))} must be .*, found"):
        config(**values)


def test_every_source_but_auto_is_compared_with_no_other() -> None:
    assert PseudoAttributeConfig().compared == ("linear", "clusters")
    sources = ("linear", "clusters", "twins", "biased")
    assert [PseudoAttributeConfig(source=name).compared for name in sources] == [(name,) for name in sources]
