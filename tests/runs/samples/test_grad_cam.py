import pytest
import torch
from torch import nn

from prusc.models.build import build_model
from prusc.runs.samples.grad_cam import find_feature_map, grad_cam, spread_over_image
from tests.networks import (
    NUM_CLASSES,
    ConvNet,
    generator,
    random_images,
    randomise,
    resnet18,
    small_cnn,
    vit_tiny,
)
from tests.reference.grad_cam import grad_cam_slowly
from tests.traces import no_trace


@pytest.mark.parametrize(
    ("model", "images", "expected"),
    [
        (small_cnn(), random_images(1, 16), "encoder.8"),
        (resnet18(), random_images(1, 64), "layer4"),
        (build_model("torchvision/vgg11", NUM_CLASSES, generator=generator()), random_images(1, 64), "features.19"),
        (build_model("torchvision/mobilenet_v2", NUM_CLASSES, generator=generator()), random_images(1, 64), "features"),
        (vit_tiny(), random_images(1, 32), None),  # its only convolution comes first
        (small_cnn(), random_images(1, 2), None),  # a map of one place
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, NUM_CLASSES)), random_images(1, 8), None),
    ],
    ids=["small-cnn", "resnet18", "vgg11", "mobilenet_v2", "vit", "one place", "no convolution"],
)
def test_the_last_map_of_features_is_found(model: nn.Module, images: torch.Tensor, expected: str | None) -> None:
    assert find_feature_map(model, images) == expected


def test_it_is_what_the_slow_twin_gives() -> None:
    model, images = randomise(ConvNet()), random_images(5, 9, channels=2)
    classes = torch.tensor([0, 1, 2, 0, 1])
    found = grad_cam(model, "depthwise", images, classes)
    assert torch.allclose(found, grad_cam_slowly(model, "depthwise", images, classes), atol=2e-3)
    assert found.amax(dim=(1, 2)).eq(1).all()
    assert found.min() >= 0


def test_frozen_weights_and_nothing_that_speaks_for_the_class() -> None:
    model = small_cnn().requires_grad_(False)
    nn.init.zeros_(model.get_parameter("head.weight"))
    assert grad_cam(model, "encoder.8", random_images(2, 16), torch.tensor([0, 1])).eq(0).all()


def test_a_map_of_the_central_part_lies_in_the_middle_of_the_image() -> None:
    maps = torch.tensor([[[1.0, 0.0], [0.0, 0.0]]])
    spread = spread_over_image(maps, 0.5)
    assert spread.shape == (1, 64, 64)
    assert spread[0, 16, 16] == 1  # the upper left corner of the central half
    assert spread.nonzero()[:, 1:].min() == 16
    assert spread[0, 40:, 40:].eq(0).all()
    full = spread_over_image(torch.ones(2, 7, 7), 224 / 256)
    assert full.sum(dim=(1, 2)).tolist() == [56**2, 56**2]
    assert spread_over_image(maps, 1.0) is maps


def test_the_network_is_left_as_it_was() -> None:
    model, images = small_cnn().train(), random_images(2, 16)
    with no_trace(model):
        assert find_feature_map(model, images) == "encoder.8"
        grad_cam(model, "encoder.8", images, torch.tensor([0, 1]))
        with pytest.raises(RuntimeError):
            grad_cam(model, "encoder.8", images, torch.tensor([NUM_CLASSES, 0]))
    assert all(parameter.grad is None for parameter in model.parameters())
