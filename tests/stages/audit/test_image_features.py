"""Measures of pictures against a twin that goes pixel by pixel, and against known colours."""

import math

import pytest
import torch

from prusc.stages.audit.image_features import IMAGE_FEATURES, border_of, measure_images, to_lab
from tests.reference.image_features import mean_lab, sharpness

COLUMN = {feature.name: number for number, feature in enumerate(IMAGE_FEATURES)}


def test_measures_equal_those_of_a_slow_twin() -> None:
    images = torch.randint(0, 256, (2, 3, 12, 15), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    found = measure_images(images)
    for image, row in zip(images, found.tolist(), strict=True):
        picture = [[tuple(pixel) for pixel in line] for line in image.permute(1, 2, 0).tolist()]
        everywhere = mean_lab(picture, range(12), range(15))
        assert [row[COLUMN[f"{name}/whole picture"]] for name in ("light", "red", "yellow")] == pytest.approx(
            everywhere, abs=2e-4
        )
        cell = mean_lab(picture, range(4, 8), range(10, 15))
        assert [row[COLUMN[f"{name}/right"]] for name in ("light", "red", "yellow")] == pytest.approx(cell, abs=2e-4)
        assert row[COLUMN["sharpness"]] == pytest.approx(sharpness(picture), abs=1e-3)
        lights = [mean_lab(picture, range(i, i + 1), range(j, j + 1))[0] for i in range(12) for j in range(15)]
        mean = sum(lights) / len(lights)
        spread = math.sqrt(sum((light - mean) ** 2 for light in lights) / len(lights))
        assert row[COLUMN["contrast"]] == pytest.approx(spread, abs=2e-4)
        edge = [lights[15 * i + j] for i in range(12) for j in range(15) if i in (0, 11) or j in (0, 14)]
        assert row[COLUMN["light/border"]] == pytest.approx(sum(edge) / len(edge), abs=2e-4)


def test_colours_are_those_of_the_standard() -> None:
    # White, black, and the primaries of sRGB, whose CIELAB values are published.
    rgb = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0], [0, 0, 1]])
    expected = torch.tensor([[1.0, 0, 0], [0, 0, 0], [0.5324, 0.8009, 0.6720], [0.3230, 0.7920, -1.0786]])
    assert torch.allclose(to_lab(rgb[:, :, None, None])[:, :, 0, 0], expected, atol=1e-3)


def test_gray_pictures_are_measured_as_their_copies_in_three_channels() -> None:
    gray = torch.randint(0, 256, (3, 1, 9, 9), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    assert torch.equal(measure_images(gray), measure_images(gray.repeat(1, 3, 1, 1)))
    assert measure_images(gray)[:, COLUMN["saturation"]].max() < 1e-3


def test_a_large_picture_of_one_colour_and_a_tiny_one_are_measured() -> None:
    flat = measure_images(torch.full((1, 3, 200, 120), 130, dtype=torch.uint8))[0]
    assert flat[COLUMN["contrast"]] < 1e-6
    assert flat[COLUMN["sharpness"]] == pytest.approx(0, abs=1e-3)
    assert flat[COLUMN["light/left"]] == pytest.approx(flat[COLUMN["light/border"]].item(), abs=1e-6)
    assert torch.isfinite(measure_images(torch.full((1, 3, 1, 2), 130, dtype=torch.uint8))).all()


def test_the_border_is_never_the_whole_picture() -> None:
    assert border_of(32, 48).sum() == 32 * 48 - 28 * 42
    assert not border_of(3, 3)[1, 1]
    assert border_of(4, 4).sum() == 12


def test_every_column_has_a_description() -> None:
    images = torch.zeros(1, 3, 8, 8, dtype=torch.uint8)
    assert measure_images(images).shape == (1, len(IMAGE_FEATURES))
    assert len(COLUMN) == len(IMAGE_FEATURES)
