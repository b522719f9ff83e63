from pathlib import Path
from typing import Any

import pytest

from prusc.config import USE_OPTIONS, DataConfig, StickerConfig
from prusc.errors import ConfigError

OUT_OF_RANGE: list[tuple[type, dict[str, Any]]] = [
    (DataConfig, {"memory_limit_gib": -1.0}),
    (DataConfig, {"crop_size": 0}),
    (DataConfig, {"num_tokens": 0}),
    (DataConfig, {"crop_pct": 0.0}),
    (DataConfig, {"crop_pct": 1.5}),
    (DataConfig, {"std": (0.5,), "mean": (0.5, 0.5)}),
    (DataConfig, {"mean": (0.5,)}),
    (DataConfig, {"mean": (0.5,), "std": (0.0,)}),
    (StickerConfig, {"train_shares": (0.5, 1.5)}),
    (StickerConfig, {"size": 0.0}),
]


@pytest.mark.parametrize(("kind", "settings"), OUT_OF_RANGE)
def test_settings_out_of_range_are_refused_by_name(kind: type, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"must be .*, found") as caught:
        kind(**settings)
    # The last setting of each is the wrong one.
    name = list(settings)[-1]
    assert name in str(caught.value)


@pytest.mark.parametrize("name", ["train_shares", "val_shares", "test_shares"])
@pytest.mark.parametrize("shares", [(-0.1,), (0.5, 1.01), (float("nan"),)])
def test_shares_of_every_split_are_checked(name: str, shares: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=rf"stickers\.{name} must be shares in \[0, 1\], found \("):
        StickerConfig(**{name: shares})
    assert getattr(StickerConfig(**{name: (0.0, 1.0)}), name) == (0.0, 1.0)


def test_given_options_are_those_that_differ_from_nothing() -> None:
    assert DataConfig().given() == {}
    stickers = StickerConfig(train_shares=(0.5, 0.1))
    config = DataConfig(download=False, data_seed=0, attributes=(), source=Path("mnist"), stickers=stickers)
    # False, 0 and an empty tuple are values, not the absence of one.
    assert config.given() == {
        "download": False,
        "data_seed": 0,
        "attributes": (),
        "source": Path("mnist"),
        "stickers": stickers,
    }


def test_how_images_are_used_is_no_option_of_a_layout() -> None:
    assert DataConfig(memory_limit_gib=0.5, crop_size=24, mean=(0.5,), std=(0.5,)).given() == {}
    assert set(USE_OPTIONS) == {"memory_limit_gib", "crop_size", "mean", "std", "text_column", "num_tokens"}
