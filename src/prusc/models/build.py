"""Networks by name: our own small CNN, timm's, torchvision's and the user's."""

from collections.abc import Callable
from typing import Any, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from prusc.config import is_function_name
from prusc.config.data import Interpolation
from prusc.errors import ConfigError, ModelError, nearest_names
from prusc.models.model_folders import LOCAL_PREFIX, build_from_folder, folder_preprocessing, read_folder_config
from prusc.models.preprocessing import Preprocessing
from prusc.models.user_models import build_by_function, import_function
from prusc.models.weights import load_weights


class SmallCNN(nn.Module):
    """Three convolutions with 32, 64 and 128 channels and BatchNorm, two of them with stride 2, then a linear head.

    For images of about 28 to 64 pixels.

    Args:
        num_classes: Number of outputs of the head.
        in_channels: Number of channels of the images.
    """

    def __init__(self, num_classes: int, in_channels: int = 3) -> None:
        super().__init__()
        channels = (in_channels, 32, 64, 128)
        layers: list[nn.Module] = []
        for index in range(3):
            layers += [
                nn.Conv2d(channels[index], channels[index + 1], 3, stride=2 if index < 2 else 1, padding=1, bias=False),
                nn.BatchNorm2d(channels[index + 1]),
                nn.ReLU(),
            ]
        self.encoder = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(channels[-1], num_classes)

    def forward(self, images: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of a batch of images."""
        logits: Tensor = self.head(self.encoder(images))
        return logits


_OWN_MODELS: dict[str, Callable[[int], nn.Module]] = {"small-cnn": SmallCNN}
# timm and torchvision use the same names for networks with different weights.
_TORCHVISION = "torchvision/"


def build_model(name: str, num_classes: int, *, generator: torch.Generator, pretrained: bool = False) -> nn.Module:
    """Build a network with random weights, or with published weights and a random head.

    Args:
        name: ``"small-cnn"``, any name in timm, ``"torchvision/NAME"``, ``"local-dir:FOLDER"``, or
            ``"module:function"``. The user's function takes the number of classes and returns the network. Importing it
            runs the code of its module.
        num_classes: Number of outputs of the head.
        generator: Source of the random weights; the global generators do not change.
        pretrained: Load the weights that timm or torchvision publish, usually ImageNet's. They are downloaded unless
            they are cached.

    Returns:
        The network on the CPU.

    Raises:
        ConfigError: If the name is unknown, or there are no published weights.
        ModelError: If the user's function fails or returns no network, or the weights cannot be downloaded.
    """
    check_model_name(name)
    if pretrained and not has_published_weights(name):
        raise ConfigError(f"model {name!r} has no published weights; leave pretrained out, or give a file with weights")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
        if is_function_name(name):
            return build_by_function(name, num_classes)
        if name in _OWN_MODELS:
            return _OWN_MODELS[name](num_classes)
        if name.startswith(LOCAL_PREFIX):
            return build_from_folder(name, num_classes, pretrained=pretrained)
        try:
            return _build_published(name, num_classes, pretrained=pretrained)
        except OSError as error:  # All errors of a connection to a server.
            raise ModelError(
                f"the published weights of {name!r} cannot be downloaded ({type(error).__name__}: "
                f"{str(error).splitlines()[0][:200]}); download them elsewhere and give the file with --weights"
            ) from error


def _build_published(name: str, num_classes: int, *, pretrained: bool) -> nn.Module:
    """Build a network of timm or torchvision."""
    import timm
    import torchvision

    if not name.startswith(_TORCHVISION):
        return timm.create_model(name, num_classes=num_classes, pretrained=pretrained)
    own_name = name.removeprefix(_TORCHVISION)
    model: nn.Module = torchvision.models.get_model(own_name, num_classes=num_classes)
    if pretrained:
        published = torchvision.models.get_model(own_name, weights="DEFAULT")
        load_weights(model, published.state_dict(), source=f"what torchvision publishes for {own_name}", new_head=True)
    return model


def has_published_weights(name: str) -> bool:
    """Whether timm or torchvision publish weights of a network, or its folder holds them."""
    if name.startswith(LOCAL_PREFIX):
        return True
    import timm
    import torchvision

    if name.startswith(_TORCHVISION):
        return len(torchvision.models.get_model_weights(name.removeprefix(_TORCHVISION))) > 0
    return timm.is_model_pretrained(name)


def check_model_name(name: str) -> None:
    """Check that `build_model` knows a name, without building the network.

    Raises:
        ConfigError: If the name is unknown.
    """
    if is_function_name(name):
        import_function(name)
        return
    if name in _OWN_MODELS:
        return
    if name.startswith(LOCAL_PREFIX):
        read_folder_config(name)
        return
    import timm

    if name in _torchvision_names() or timm.is_model(name):
        return
    known = [*_OWN_MODELS, *_torchvision_names(), *timm.list_models()]
    raise ConfigError(
        f"unknown model {name!r}{nearest_names(name, known)}; known are 'small-cnn', timm's names (list them with "
        "python -c \"import timm; print(timm.list_models())\"), 'torchvision/' and a name of torchvision, "
        "'local-dir:' and a folder, and 'module:function' for your own network"
    )


def _torchvision_names() -> list[str]:
    import torchvision

    return [_TORCHVISION + name for name in torchvision.models.list_models(module=torchvision.models)]


def model_preprocessing(name: str) -> Preprocessing | None:
    """Return how a network's own configuration prepares images; ``None`` if it has none."""
    if name.startswith(LOCAL_PREFIX):
        return folder_preprocessing(name)
    config = _timm_config(name)
    if config is None or config.mean is None or config.std is None:
        return None
    interpolation = config.interpolation if config.interpolation in get_args(Interpolation) else "bilinear"
    return Preprocessing(
        mean=tuple(config.mean),
        std=tuple(config.std),
        image_size=None if config.input_size is None else int(min(config.input_size[1:])),
        interpolation=interpolation,
        crop_pct=float(config.crop_pct or 1.0),
    )


def model_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return the input normalisation of a network's published weights.

    Args:
        name: See `build_model`.

    Returns:
        Mean and standard deviation per channel, of intensities in ``[0, 1]``; ``None`` for networks without published
        weights, such as our own.
    """
    if name.startswith(_TORCHVISION):
        from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD

        return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    found = model_preprocessing(name)
    return None if found is None else (found.mean, found.std)


def model_image_size(name: str) -> int | None:
    """Return the side in pixels of the images that a network was designed for; ``None`` if it is unknown."""
    found = model_preprocessing(name)
    return None if found is None else found.image_size


def _timm_config(name: str) -> Any:
    """Return what timm knows of the published weights of a network; ``None`` if it does not know it."""
    if name in _OWN_MODELS or name.startswith(LOCAL_PREFIX):
        return None
    # timm takes seconds to import, which networks of our own need not wait for.
    import timm

    return timm.get_pretrained_cfg(name) if timm.is_model(name) else None
