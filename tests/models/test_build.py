import os
from pathlib import Path

import pytest
import torch
import torchvision

from prusc.errors import ConfigError, ModelError
from prusc.models.build import (
    SmallCNN,
    build_model,
    check_model_name,
    has_published_weights,
    model_image_size,
    model_normalisation,
)
from prusc.models.checkpoints import read_weights
from prusc.models.weights import load_weights
from tests.networks import NUM_CLASSES, generator, mobilenet_v2


def test_a_generator_decides_the_random_weights() -> None:
    state = torch.get_rng_state()
    first, again, other = (build_model("small-cnn", 4, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(first, SmallCNN)
    assert first.head.out_features == 4
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)


def test_a_name_of_torchvision_takes_torchvision_weights_and_their_normalisation() -> None:
    model = build_model("torchvision/mobilenet_v2", NUM_CLASSES, generator=generator(1))
    load_weights(model, mobilenet_v2().state_dict(), source="file", new_head=False)
    assert type(model) is torchvision.models.MobileNetV2
    assert model_normalisation("torchvision/mobilenet_v2") == model_normalisation("resnet18")
    with pytest.raises(ConfigError, match="did you mean torchvision/mobilenet_v2"):
        build_model("torchvision/mobilenetv2", NUM_CLASSES, generator=generator(1))


def test_any_name_of_timm_builds_a_network() -> None:
    state = torch.get_rng_state()
    first, again = (build_model("mobilenetv3_small_050", 5, generator=generator(1)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.get_classifier().out_features == 5
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("name", ["small-cnn", "torchvision/small-cnn", "resnet18.nothing"])
def test_what_has_no_published_weights_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"has no published weights|unknown model"):
        build_model(name, 2, generator=generator(), pretrained=True)


# The hub's client tries again for most of a minute.
@pytest.mark.parametrize("name", [pytest.param("resnet18", marks=pytest.mark.slow), "torchvision/resnet18"])
def test_a_server_that_cannot_be_reached_is_one_clear_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("socket.create_connection", no_network)
    monkeypatch.setattr("socket.socket.connect", no_network)
    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    state = torch.get_rng_state()
    with pytest.raises(ModelError, match=f"published weights of '{name}' cannot be downloaded .*--weights"):
        build_model(name, 2, generator=generator(), pretrained=True)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif("PRUSC_DATA" not in os.environ, reason="PRUSC_DATA does not name the folder of the real weights")
def test_published_weights_keep_the_users_number_of_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a download: the file lies where torchvision looks first."""
    path = Path(os.environ["PRUSC_DATA"]) / "weights" / "mobilenet_v2-b0353104.pth"
    default = torchvision.models.MobileNet_V2_Weights.DEFAULT
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / Path(default.url).name).symlink_to(path)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    model = build_model("torchvision/mobilenet_v2", NUM_CLASSES, generator=generator(), pretrained=True)
    assert torch.equal(model.state_dict()["features.0.0.weight"], read_weights(path).tensors["features.0.0.weight"])
    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, NUM_CLASSES)


@pytest.mark.parametrize(("name", "hint"), [("resnet81", "did you mean resnet"), ("small_cnn", "small-cnn"), ("", "")])
def test_an_unknown_name_is_an_error_with_the_nearest_ones(name: str, hint: str) -> None:
    state = torch.get_rng_state()
    with pytest.raises(ConfigError, match=f"unknown model '{name}'.*{hint}"):
        build_model(name, 4, generator=generator())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", [8, 28, 33, 64])
def test_the_small_network_takes_images_of_any_size(size: int) -> None:
    assert SmallCNN(4, in_channels=2)(torch.zeros(3, 2, size, size)).shape == (3, 4)


def test_the_normalisation_is_that_of_the_pretrained_weights() -> None:
    mean, std = model_normalisation("resnet18") or ((), ())
    assert mean == pytest.approx((0.485, 0.456, 0.406))
    assert std == pytest.approx((0.229, 0.224, 0.225))
    assert model_normalisation("small-cnn") is None
    assert model_normalisation("nothing") is None


@pytest.mark.parametrize(
    ("name", "side"),
    [
        ("resnet18", 224),
        ("inception_v3", 299),
        ("vit_base_patch16_384", 384),
        ("small-cnn", None),
        ("torchvision/resnet18", None),
        ("nothing", None),
    ],
)
def test_the_image_size_is_that_of_timms_weights(name: str, side: int | None) -> None:
    assert model_image_size(name) == side


@pytest.mark.parametrize(
    ("name", "expected"),
    [("resnet18", True), ("torchvision/resnet18", True), ("small-cnn", False), ("resnet18.nothing", False)],
)
def test_published_weights_are_known_without_a_download(name: str, expected: bool) -> None:
    assert has_published_weights(name) is expected


@pytest.mark.parametrize("name", ["small-cnn", "resnet18", "resnet18.tv_in1k", "torchvision/vgg11", "torch.nn:Flatten"])
def test_a_known_name_passes_and_builds_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def build(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("timm.create_model", build)
    monkeypatch.setattr("torchvision.models.get_model", build)
    check_model_name(name)


def test_the_small_network_has_three_convolutions_and_a_head() -> None:
    model = SmallCNN(7)
    convolutions = [layer for layer in model.encoder if isinstance(layer, torch.nn.Conv2d)]
    assert [(layer.in_channels, layer.out_channels, layer.stride[0]) for layer in convolutions] == [
        (3, 32, 2),
        (32, 64, 2),
        (64, 128, 1),
    ]
    assert all(layer.bias is None for layer in convolutions)
    sizes = [9 * 3 * 32, 9 * 32 * 64, 9 * 64 * 128, 2 * (32 + 64 + 128), 128 * 7 + 7]
    assert sum(parameter.numel() for parameter in model.parameters()) == sum(sizes)
