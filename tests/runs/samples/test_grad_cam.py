import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

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


class Squeezed(nn.Module):
    """Squeeze and excitation: a convolution of the pooled map weighs its channels."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.weigh, self.head = nn.Conv2d(3, 6, 3), nn.Conv2d(6, 6, 1), nn.Linear(6, NUM_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        found = self.conv(images)
        found = found * self.weigh(found.mean((2, 3), keepdim=True)).sigmoid()
        return self.head(found.relu().mean((2, 3)))


class Letters(nn.Module):
    """Two convolutions and more linear layers, as LeNet has them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 5), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.tail = nn.Sequential(nn.Linear(96, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, NUM_CLASSES))

    def forward(self, images: Tensor) -> Tensor:
        return self.tail(self.body(images).flatten(1))


@pytest.mark.parametrize(
    ("model", "images", "expected"),
    [
        (small_cnn(), random_images(1, 16), "encoder.8"),
        (resnet18(), random_images(1, 64), "layer4"),
        (build_model("torchvision/vgg11", NUM_CLASSES, generator=generator()), random_images(1, 64), "features.19"),
        (build_model("torchvision/mobilenet_v2", NUM_CLASSES, generator=generator()), random_images(1, 64), "features"),
        (vit_tiny(), random_images(1, 32), None),  # its only convolution comes first
        (small_cnn(), random_images(1, 2), None),  # a map of one place
        (resnet18(), random_images(1, 32), "layer3"),  # the last layers have one place
        (build_model("mobilenetv3_small_050", NUM_CLASSES, generator=generator()), random_images(1, 64), "blocks"),
        (Squeezed(), random_images(1, 12), "conv"),
        (Letters(), random_images(1, 28), "body.4"),
        (nn.Sequential(nn.Flatten(), nn.Linear(3 * 64, NUM_CLASSES)), random_images(1, 8), None),
    ],
    ids=[
        "small-cnn",
        "resnet18",
        "vgg11",
        "mobilenet_v2",
        "vit",
        "one place",
        "small images",
        "mobilenetv3",
        "squeezed",
        "lenet",
        "no convolution",
    ],
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


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_networks_and_those_with_other_outputs_give_the_same(reentrant: bool) -> None:
    from torch.utils.checkpoint import checkpoint

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = randomise(ConvNet())

        def forward(self, images: Tensor) -> dict[str, Tensor]:
            inner = self.inner
            hidden = checkpoint(inner.conv, images, use_reentrant=reentrant)
            hidden = F.gelu(inner.norm(hidden))
            logits = inner.head(F.gelu(inner.depthwise(hidden)).mean((2, 3)))
            return {"features": hidden, "logits": logits}

    model, images, classes = Checkpointed(), random_images(3, 9, channels=2), torch.tensor([0, 1, 2])
    expected = grad_cam(model.inner, "conv", images, classes)
    assert torch.allclose(grad_cam(model, "inner.conv", images, classes), expected, atol=1e-6)
