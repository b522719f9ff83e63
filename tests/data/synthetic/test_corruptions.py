from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from prusc.data.synthetic import corruptions
from prusc.data.synthetic.corruptions import CORRUPTIONS, corrupt_images
from tests.reference.corruptions import (
    blur_along_slowly,
    change_hsv_slowly,
    disturbances_of_clouds_slowly,
    reduce_contrast_slowly,
)

RANDOM = ("snow", "frost", "fog", "spatter", "elastic")


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    """Smooth colour images, one of them grey, one black and one white."""
    rng = np.random.default_rng(0)
    small = rng.integers(0, 256, (6, 4, 4, 3)).astype(np.uint8)
    large = np.stack([np.asarray(Image.fromarray(image).resize((32, 32))) for image in small])
    large[3] = large[3][..., :1]
    large[4], large[5] = 0, 255
    return np.ascontiguousarray(large.transpose(0, 3, 1, 2))


def corrupt(images: np.ndarray, name: str, seed: int = 0) -> np.ndarray:
    return corrupt_images(images, name, np.random.default_rng(seed))


def slowly(images: np.ndarray, change: object, **options: float) -> np.ndarray:
    results = [change(image.transpose(1, 2, 0) / 255, **options) for image in images]
    return np.stack(results).transpose(0, 3, 1, 2) * 255


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_images_stay_images_and_change(images: np.ndarray, name: str) -> None:
    before = images.copy()
    changed = corrupt(images, name)
    assert changed.shape == images.shape
    assert changed.dtype == np.uint8
    assert (images == before).all()
    assert (changed[:4] != images[:4]).any(axis=(1, 2, 3)).all()
    assert np.abs(changed[:4].astype(float) - images[:4]).mean() > 1
    assert corrupt(images[:0], name).shape == (0, 3, 32, 32)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_randomness_is_the_generators(images: np.ndarray, name: str) -> None:
    assert (corrupt(images, name) == corrupt(images, name)).all()
    assert (corrupt(images, name) != corrupt(images, name, 1)).any() == (name in RANDOM)
    if name in RANDOM:
        twice = corrupt(images[[0, 0]], name)
        assert (twice[0] != twice[1]).any()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corruptions_can_be_told_apart(images: np.ndarray, name: str) -> None:
    for other in CORRUPTIONS:
        differs = (corrupt(images[:4], name) != corrupt(images[:4], other)).any(axis=(1, 2, 3)).all()
        assert differs == (other != name)


def test_brightness_is_the_slow_one(images: np.ndarray) -> None:
    expected = slowly(images, change_hsv_slowly, value_shift=0.3)
    assert np.abs(corrupt(images, "brightness") - expected).max() <= 0.51


def test_saturate_is_the_slow_one(images: np.ndarray) -> None:
    expected = slowly(images, change_hsv_slowly, factor=2.5, shift=0.2)
    assert np.abs(corrupt(images, "saturate") - expected).max() <= 0.51


def test_contrast_is_the_slow_one(images: np.ndarray) -> None:
    expected = slowly(images, reduce_contrast_slowly, factor=0.15)
    assert np.abs(corrupt(images, "contrast") - expected).max() <= 0.51


def test_blur_is_the_slow_one() -> None:
    layers = np.random.default_rng(0).random((4, 16, 16))
    angles = np.array([-135.0, -90.0, -45.0, 20.0])
    blurred = corruptions._blur_along(layers, 3, 2.0, angles)
    for layer, angle, found in zip(layers, angles, blurred, strict=True):
        assert np.allclose(found, blur_along_slowly(layer, 3, 2.0, angle), atol=1e-6)


def test_clouds_are_disturbed_less_and_less(monkeypatch: pytest.MonkeyPatch) -> None:
    for heights in corruptions._clouds(20, 32, 1.75, np.random.default_rng(0)).astype(float):
        assert heights.min() == 0
        assert heights.max() == 1
        reaches = [np.abs(away).max() for _, away in disturbances_of_clouds_slowly(heights)]
        assert len(reaches) == 5
        # Each round may disturb by a third (1 / 1.75 ** 2) of what the one before did; the last has 3 * 256 points.
        assert reaches[-1] < 0.1 * max(reaches)
        assert reaches[-2] < max(reaches)


def test_jpeg_and_pixelate_are_pillows(images: np.ndarray) -> None:
    image = Image.fromarray(images[0].transpose(1, 2, 0))
    file = BytesIO()
    image.save(file, "JPEG", quality=40)
    assert (corrupt(images, "jpeg")[0].transpose(1, 2, 0) == np.asarray(Image.open(file))).all()
    small = image.resize((20, 20), Image.Resampling.BOX).resize((32, 32), Image.Resampling.BOX)
    assert (corrupt(images, "pixelate")[0].transpose(1, 2, 0) == np.asarray(small)).all()


def test_snow_and_frost_lighten_and_fog_flattens(images: np.ndarray) -> None:
    black = images[[4]].repeat(20, axis=0)
    assert corrupt(black, "snow").mean() > 25
    assert corrupt(black, "frost").mean() > 25
    assert corrupt(black, "fog").max() == 0
    assert corrupt(images[:3], "fog").std() < images[:3].std()
    assert (np.median(corrupt(images[[5]], "frost")) < 255).all()


def test_spatter_leaves_drops_of_mud(images: np.ndarray) -> None:
    changed = corrupt(images[[5]].repeat(20, axis=0), "spatter").transpose(0, 2, 3, 1).reshape(-1, 3)
    clean = (changed == 255).all(axis=1).mean()
    # Mud covers four fifths at least: white becomes no lighter than this.
    mud = (changed <= np.rint(0.2 * 255 + 0.8 * np.array([63, 42, 20]))).all(axis=1).mean()
    assert 0.01 < mud < 0.3
    assert clean + mud == pytest.approx(1)


def test_elastic_moves_points_a_little_and_about_as_far_in_every_direction() -> None:
    # The intensity says how far right or down a pixel lies, so the change is how far it was moved.
    places = np.broadcast_to(np.arange(32) * 8, (200, 32, 32)).astype(np.uint8)
    ramps = np.stack([places, places.transpose(0, 2, 1), places], axis=1)
    moved = (corrupt(ramps, "elastic").astype(float) - ramps)[:, :2, 8:24, 8:24] / 8
    assert np.abs(moved.mean()) < 0.1
    assert 0.4 < moved[:, 0].std() < 1.5
    assert abs(moved[:, 0].std() - moved[:, 1].std()) < 0.1
    assert np.abs(moved).max() < 6
    assert (
        corrupt(np.full((2, 3, 32, 32), 77, dtype=np.uint8), "elastic").tolist() == np.full((2, 3, 32, 32), 77).tolist()
    )
