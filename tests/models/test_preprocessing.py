"""The preprocessing that a folder of transformers or timm states."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm

from prusc.errors import ModelError
from prusc.models.build import model_preprocessing
from prusc.models.preprocessing import Preprocessing, read_preprocessor

VIT = {"do_normalize": True, "image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.25, 0.25], "resample": 2}


def read(folder: Path, **content: Any) -> Preprocessing:
    (folder / "preprocessor_config.json").write_text(json.dumps(content))
    found = read_preprocessor(folder)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("content", "size", "interpolation", "crop_pct"),
    [
        ({"size": {"height": 224, "width": 224}}, 224, "bilinear", 1.0),
        ({"size": 224, "resample": 3}, 224, "bicubic", 1.0),
        (
            {"size": {"shortest_edge": 256}, "do_center_crop": True, "crop_size": {"height": 224}},
            224,
            "bilinear",
            0.875,
        ),
        ({"size": {"shortest_edge": 224}, "crop_pct": 0.95, "resample": 1}, 224, "lanczos", 0.95),
        ({}, None, "bilinear", 1.0),
    ],
)
def test_sizes_and_crops_are_understood(
    tmp_path: Path, content: dict[str, Any], size: int | None, interpolation: str, crop_pct: float
) -> None:
    found = read(tmp_path, **{**VIT, **content})
    assert found == Preprocessing((0.5,) * 3, (0.25,) * 3, size, interpolation, crop_pct)


def test_normalisation_that_is_turned_off_or_on_another_scale(tmp_path: Path) -> None:
    assert read(tmp_path, **{**VIT, "do_normalize": False}).mean == (0.0,) * 3
    assert read(tmp_path, **{**VIT, "do_normalize": False}).std == (1.0,) * 3
    # Intensities of 0 to 255: x = p * 255, and (x - 0.5) / 0.25 = (p - 0.5 / 255) / (0.25 / 255).
    raw = read(tmp_path, **{**VIT, "do_rescale": False})
    assert raw.std == pytest.approx((0.25 / 255,) * 3)
    assert raw.mean == pytest.approx((0.5 / 255,) * 3)
    assert read(tmp_path, **VIT, do_rescale=True, rescale_factor=1 / 255).std == pytest.approx((0.25,) * 3)


def test_a_file_that_is_damaged_is_named_and_none_is_no_error(tmp_path: Path) -> None:
    assert read_preprocessor(tmp_path) is None
    (tmp_path / "preprocessor_config.json").write_text("{")
    with pytest.raises(ModelError, match=r"preprocessor_config\.json cannot be understood"):
        read_preprocessor(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({**VIT, "resample": 9}))
    with pytest.raises(ModelError, match="KeyError"):
        read_preprocessor(tmp_path)


def test_a_folder_of_timm_states_its_own(tmp_path: Path) -> None:
    own = {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6], "input_size": [3, 64, 64], "interpolation": "bicubic"}
    content = {"architecture": "resnet18", "pretrained_cfg": own | {"crop_pct": 0.9}}
    (tmp_path / "config.json").write_text(json.dumps(content))
    found = model_preprocessing(f"local-dir:{tmp_path}")
    assert found == Preprocessing((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), 64, "bicubic", 0.9)
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "resnet18"}))
    assert model_preprocessing(f"local-dir:{tmp_path}") is None
    (tmp_path / "config.json").write_text(json.dumps(content | {"pretrained_cfg": own | {"crop_pct": "much"}}))
    with pytest.raises(ModelError, match="pretrained_cfg cannot be understood"):
        model_preprocessing(f"local-dir:{tmp_path}")


def test_that_of_timm_is_its_configuration() -> None:
    found = model_preprocessing("resnet18")
    assert found is not None
    own = timm.get_pretrained_cfg("resnet18")
    assert own is not None
    assert (found.image_size, found.interpolation, found.crop_pct) == (224, own.interpolation, own.crop_pct)
    assert (found.mean, found.std) == (own.mean, own.std)
    assert model_preprocessing("small-cnn") is None
