import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from prusc.data.transforms import InputTransform, crop_images, draw_crop_boxes, flip_images, normalise_images
from prusc.errors import ConfigError, DataError
from tests.reference import transforms as reference

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WHOLE = torch.tensor([0.0, 0.0, 1.0, 1.0])


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_images(num_images: int = 5, height: int = 9, width: int = 7) -> Tensor:
    return torch.randint(0, 256, (num_images, 3, height, width), dtype=torch.uint8, generator=generator(9))


def test_normalisation_equals_its_slow_twin() -> None:
    images = random_images()
    before = images.clone()
    result = InputTransform(MEAN, STD)(images)
    assert result.dtype == torch.float32
    expected = torch.from_numpy(reference.normalise_images(images.numpy(), MEAN, STD))
    torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=0)
    assert torch.equal(images, before)


def test_every_number_of_channels_is_normalised() -> None:
    image = torch.full((2, 1, 4, 4), 255, dtype=torch.uint8)
    torch.testing.assert_close(InputTransform((0.5,), (0.25,))(image), torch.full((2, 1, 4, 4), 2.0))


def test_the_memory_layout_is_kept() -> None:
    images = random_images(height=8, width=8).to(memory_format=torch.channels_last)
    for flip, crop_size, scale in ((False, None, 1.0), (True, None, 1.0), (True, 6, 1.0), (True, None, 0.5)):
        transform = InputTransform(MEAN, STD, flip=flip, crop_size=crop_size, min_crop_scale=scale)
        result = transform(images, generator=generator())
        assert result.is_contiguous(memory_format=torch.channels_last)


def test_without_a_generator_nothing_is_random() -> None:
    images = random_images()
    augmenting = InputTransform(MEAN, STD, flip=True, min_crop_scale=0.5)
    assert torch.equal(augmenting(images), InputTransform(MEAN, STD)(images))


def test_with_a_generator_but_no_augmentation_nothing_is_drawn() -> None:
    images, source = random_images(), generator()
    state = source.get_state()
    assert torch.equal(InputTransform(MEAN, STD)(images, generator=source), InputTransform(MEAN, STD)(images))
    assert torch.equal(source.get_state(), state)


@pytest.mark.parametrize(
    "inputs",
    [
        torch.rand(4, 3, 8, 8),
        torch.rand(4, 3, 8, 8, dtype=torch.float64),
        torch.rand(4, 10),
        torch.arange(12).view(3, 4),
        torch.zeros(4, 10, dtype=torch.uint8),
        {"tokens": torch.arange(12).view(3, 4), "images": torch.zeros(2, 3, 4, 4, dtype=torch.uint8)},
    ],
)
def test_what_is_no_image_passes_unchanged(inputs: Tensor | dict[str, Tensor]) -> None:
    transform = InputTransform(MEAN, STD, flip=True, min_crop_scale=0.5)
    assert transform(inputs) is inputs
    assert transform(inputs, generator=generator()) is inputs


def test_flips_are_drawn_for_each_image() -> None:
    images = random_images(200)
    plain = InputTransform(MEAN, STD)
    result = InputTransform(MEAN, STD, flip=True)(images, generator=generator())
    same = (result == plain(images)).flatten(1).all(dim=1)
    mirrored = (result == plain(images.flip(-1))).flatten(1).all(dim=1)
    assert (same ^ mirrored).all()
    assert 70 < mirrored.sum() < 130


def test_flip_images_equals_its_slow_twin() -> None:
    images, flipped = random_images(4), torch.tensor([True, False, False, True])
    before = images.clone()
    expected = torch.stack([i.flip(-1) if f else i for i, f in zip(images, flipped.tolist(), strict=True)])
    assert torch.equal(flip_images(images, flipped), expected)
    assert torch.equal(images, before)
    assert torch.equal(flip_images(images, torch.zeros(4, dtype=torch.bool)), images)


@pytest.mark.parametrize("min_crop_scale", [1.0, 0.6])
def test_the_generator_decides_and_the_global_state_stays(min_crop_scale: float) -> None:
    images = random_images(32)
    transform = InputTransform(MEAN, STD, flip=True, min_crop_scale=min_crop_scale)
    state = torch.get_rng_state()
    first = transform(images, generator=generator(1))
    assert torch.equal(first, transform(images, generator=generator(1)))
    assert not torch.equal(first, transform(images, generator=generator(2)))
    source = generator(1)
    transform(images, generator=source)
    assert not torch.equal(first, transform(images, generator=source))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", [None, 5, 12])
def test_crops_equal_their_slow_twin(size: int | None) -> None:
    images = normalise_images(random_images(6), MEAN, STD)
    boxes = draw_crop_boxes(6, 0.3, generator=generator())
    flipped = torch.tensor([True, False, True, False, False, True])
    result = crop_images(images, boxes, flipped, size=size)
    for image, box, mirror, found in zip(images, boxes.tolist(), flipped.tolist(), result, strict=True):
        expected = reference.crop_image(image.double().numpy(), tuple(box), flipped=mirror, size=size)
        np.testing.assert_allclose(found.numpy(), expected, atol=1e-4)


def test_the_whole_image_as_a_box_is_the_image() -> None:
    images = normalise_images(random_images(3), MEAN, STD)
    torch.testing.assert_close(crop_images(images, WHOLE.expand(3, 4)), images, atol=1e-4, rtol=0)
    mirrored = crop_images(images, WHOLE.expand(3, 4), torch.tensor([True] * 3))
    torch.testing.assert_close(mirrored, images.flip(-1), atol=1e-4, rtol=0)


def test_a_quarter_as_a_box_is_that_quarter() -> None:
    images = torch.zeros(1, 1, 8, 8)
    images[:, :, :4, 4:] = 1  # the upper right one
    inner = crop_images(images, torch.tensor([[0.5, 0.0, 0.5, 0.5]]))[:, :, :-1, 1:]
    torch.testing.assert_close(inner, torch.ones_like(inner))


@pytest.mark.parametrize("min_scale", [0.08, 0.5, 0.7, 0.99])
def test_boxes_lie_inside_and_have_the_promised_area_and_shape(min_scale: float) -> None:
    left, top, width, height = draw_crop_boxes(5_000, min_scale, generator=generator()).double().unbind(1)
    tolerance = 1e-6
    assert min(left.min(), top.min()) >= 0
    assert max((left + width).max(), (top + height).max()) <= 1 + tolerance
    area, aspect = width * height, width / height
    assert min_scale - tolerance <= area.min() < min_scale + 0.01
    assert 0.99 < area.max() <= 1 + tolerance
    assert area.mean().item() == pytest.approx((1 + min_scale) / 2, abs=0.02)
    assert aspect.min() >= 3 / 4 - tolerance
    assert aspect.max() <= 4 / 3 + tolerance
    assert aspect.log().mean().abs() < 0.02
    # All of the free room is used.
    assert (left / (1 - width).clamp(min=1e-9)).mean().item() == pytest.approx(0.5, abs=0.03)


def test_augmentation_crops_and_flips_at_once() -> None:
    # Each pixel says where it comes from, so the box can be read off the result.
    columns = torch.arange(64, dtype=torch.uint8).expand(300, 1, 64, 64)
    result = InputTransform((0.0,), (1 / 255,), flip=True, min_crop_scale=0.5)(columns, generator=generator())
    slopes = (result[:, 0, 32, 40] - result[:, 0, 32, 24]) / 16
    assert 0.3 < (slopes < 0).float().mean() < 0.7
    assert slopes.abs().min() >= np.sqrt(0.5 * 0.75) - 1e-3
    assert slopes.abs().max() <= 1 + 1e-3
    assert slopes.abs().std() > 0.05


@pytest.mark.parametrize(("size", "first_row", "first_column"), [(4, 2, 1), (3, 3, 2), (7, 1, 0), (1, 4, 3)])
def test_evaluation_sees_the_central_square(size: int, first_row: int, first_column: int) -> None:
    images = random_images(3, height=9, width=7)
    expected = images[:, :, first_row : first_row + size, first_column : first_column + size]
    for flip in (False, True):  # no generator, no flips
        result = InputTransform(MEAN, STD, flip=flip, crop_size=size)(images)
        torch.testing.assert_close(result, InputTransform(MEAN, STD)(expected))


def test_training_sees_crops_of_the_whole_image_in_the_size_of_the_central_one() -> None:
    columns = torch.arange(64, dtype=torch.uint8).expand(300, 1, 64, 64)
    transform = InputTransform((0.0,), (1 / 255,), min_crop_scale=0.5, crop_size=48)
    result = transform(columns, generator=generator())
    assert result.shape == (300, 1, 48, 48)
    assert result.min() < 7  # the central square has the columns 8 to 55
    assert result.max() > 56
    # Without random crops training sees what evaluation sees.
    whole = InputTransform((0.0,), (1 / 255,), crop_size=48)
    assert torch.equal(whole(columns, generator=generator()), whole(columns))
    assert whole(columns)[0, 0, 0].tolist() == pytest.approx(list(range(8, 56)))


def test_images_smaller_than_the_crop_are_refused() -> None:
    with pytest.raises(DataError, match="images have 9 x 7 pixels, fewer than crop_size 8; give a larger image_size"):
        InputTransform(MEAN, STD, crop_size=8)(random_images())


def test_a_wrong_number_of_channels_is_refused() -> None:
    with pytest.raises(DataError, match=r"images have 1 channel\(s\), mean and std 3"):
        InputTransform(MEAN, STD)(torch.zeros(2, 1, 4, 4, dtype=torch.uint8))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mean": (0.5,), "std": (0.5, 0.5)}, "1 means and 2 stds"),
        ({"mean": (), "std": ()}, "0 means"),
        ({"mean": (0.5,), "std": (0.0,)}, "std is"),
        ({"mean": (0.5,), "std": (float("nan"),)}, "std is"),
        ({"mean": (float("inf"),), "std": (0.5,)}, "mean is"),
        ({"mean": (0.5,), "std": (0.5,), "min_crop_scale": 0.0}, "min_crop_scale is 0"),
        ({"mean": (0.5,), "std": (0.5,), "min_crop_scale": 1.1}, "min_crop_scale is 1.1"),
        ({"mean": (0.5,), "std": (0.5,), "min_crop_scale": float("nan")}, "min_crop_scale is nan"),
        ({"mean": (0.5,), "std": (0.5,), "crop_size": 0}, "crop_size is 0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        InputTransform(**settings)


def test_the_settings_are_frozen() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        InputTransform(MEAN, STD).flip = True


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_generator_of_the_cpu_augments_images_on_a_gpu() -> None:
    images = random_images(32)
    for min_crop_scale in (1.0, 0.5):
        transform = InputTransform(MEAN, STD, flip=True, min_crop_scale=min_crop_scale)
        on_gpu = transform(images.cuda(), generator=generator())
        torch.testing.assert_close(on_gpu.cpu(), transform(images, generator=generator()), atol=1e-3, rtol=0)
