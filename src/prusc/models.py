"""Networks: build by name, load weights, find the head and what enters it."""

import argparse
import pickle
import struct
import warnings
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import safetensors
import safetensors.torch
import timm
import torch
import torchvision
from jaxtyping import Float
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from torch import Tensor, nn

from prusc.errors import ConfigError, ModelError, nearest_names
from prusc.masks import module_modes
from prusc.user_models import build_by_function, import_function, is_function_name


class SmallCNN(nn.Module):
    """Three convolutions of 32, 64 and 128 channels with BatchNorm, two of stride 2, then a linear head.

    For images of about 28 to 64 pixels.

    Args:
        num_classes: Outputs of the head.
        in_channels: Channels of the images.
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
# timm and torchvision have networks of the same name with other weights.
_TORCHVISION = "torchvision/"


def build_model(name: str, num_classes: int, *, generator: torch.Generator, pretrained: bool = False) -> nn.Module:
    """Build a network with random weights, or with those that were published for it and a random head.

    Args:
        name: ``"small-cnn"``, any name that timm knows, ``"torchvision/NAME"``, or ``"module:function"``, a function
            of the user's that is given the number of classes and returns the network. Importing it runs its code.
        num_classes: Outputs of the head.
        generator: Decides the random weights; the global generators are left as they were.
        pretrained: Take the weights that timm or torchvision publish, ImageNet's as a rule. They are downloaded unless
            that was done before.

    Returns:
        The network on the CPU.

    Raises:
        ConfigError: If the name is unknown, or there are no published weights.
        ModelError: If the user's function fails or returns something else, or the weights cannot be downloaded.
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
        try:
            return _build_published(name, num_classes, pretrained=pretrained)
        except OSError as error:  # Whatever can go wrong on the way to a server.
            raise ModelError(
                f"the published weights of {name!r} cannot be downloaded ({type(error).__name__}: "
                f"{str(error).splitlines()[0][:200]}); download them elsewhere and give the file with --weights"
            ) from error


def _build_published(name: str, num_classes: int, *, pretrained: bool) -> nn.Module:
    """Build a network of timm's or torchvision's."""
    if not name.startswith(_TORCHVISION):
        return timm.create_model(name, num_classes=num_classes, pretrained=pretrained)
    own_name = name.removeprefix(_TORCHVISION)
    model: nn.Module = torchvision.models.get_model(own_name, num_classes=num_classes)
    if pretrained:
        published = torchvision.models.get_model(own_name, weights="DEFAULT")
        load_weights(model, published.state_dict(), source=f"what torchvision publishes for {own_name}", new_head=True)
    return model


def has_published_weights(name: str) -> bool:
    """Whether timm or torchvision publish weights for a network."""
    if name.startswith(_TORCHVISION):
        return len(torchvision.models.get_model_weights(name.removeprefix(_TORCHVISION))) > 0
    return timm.is_model_pretrained(name)


def check_model_name(name: str) -> None:
    """Refuse a name that `build_model` does not know, without building anything.

    Raises:
        ConfigError: If the name is unknown.
    """
    if is_function_name(name):
        import_function(name)
        return
    if name in _OWN_MODELS or name in _torchvision_names() or timm.is_model(name):
        return
    known = [*_OWN_MODELS, *_torchvision_names(), *timm.list_models()]
    raise ConfigError(
        f"unknown model {name!r}{nearest_names(name, known)}; known are 'small-cnn', timm's names (list them with "
        "python -c \"import timm; print(timm.list_models())\"), 'torchvision/' before torchvision's, and "
        "'module:function' for one of your own"
    )


def _torchvision_names() -> list[str]:
    return [_TORCHVISION + name for name in torchvision.models.list_models(module=torchvision.models)]


def model_normalisation(name: str) -> tuple[tuple[float, ...], tuple[float, ...]] | None:
    """Return the mean and standard deviation that a network's published weights want, or ``None`` for our own."""
    if name.startswith(_TORCHVISION):
        return IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    return (tuple(config.mean), tuple(config.std)) if config is not None else None


def model_image_size(name: str) -> int | None:
    """Return the side of the square images that a network of timm's was made for, or ``None`` where none is named."""
    config = timm.get_pretrained_cfg(name) if timm.is_model(name) else None
    return None if config is None or config.input_size is None else int(min(config.input_size[1:]))


# What PyTorch's reader raises, depending on where in a file the damage is.
_DAMAGE = (
    safetensors.SafetensorError,
    zipfile.BadZipFile,
    struct.error,
    AssertionError,
    AttributeError,
    EOFError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read a state dict from a safetensors file or a PyTorch file, never running code from it.

    Args:
        path: ``*.safetensors``, or a file that ``torch.load(weights_only=True)`` accepts: a state dict, or a dict that
            holds one under ``state_dict`` or ``model``, as checkpoints of timm and Lightning do. The prefixes
            ``module.`` and ``_orig_mod.`` are taken off.

    Returns:
        Tensors on the CPU by name.

    Raises:
        ModelError: If the file is missing, broken, holds anything but tensors or would run code.
    """
    if not path.is_file():
        raise ModelError(f"weight file {path} does not exist or is no file")
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            # timm keeps its training arguments beside the weights; they are names and values only.
            with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
                # PyTorch asks to report the pickle protocol of a file that is refused anyway.
                warnings.simplefilter("ignore")
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"weight file {path} is damaged or holds Python objects besides tensors, and is not opened, since reading "
            "those could run code; save the plain state dict, best with safetensors.torch.save_file"
        ) from error
    except _DAMAGE as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0][:200]
        raise ModelError(
            f"weight file {path} cannot be read ({reason}); expected safetensors or a PyTorch state dict: save or copy "
            "it again"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping) or not content or not all(isinstance(v, Tensor) for v in content.values()):
        raise ModelError(
            f"weight file {path} holds {type(content).__name__} and no state dict of tensors; save model.state_dict(), "
            "best with safetensors.torch.save_file"
        )
    return {_without_prefix(str(name)): tensor for name, tensor in content.items()}


def _without_prefix(name: str) -> str:
    while name.startswith(("module.", "_orig_mod.")):
        name = name.split(".", 1)[1]
    return name


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: str, new_head: bool) -> None:
    """Copy weights into a network, all of them or none.

    Args:
        model: Changed in place.
        weights: State dict. If all of the network is found under one prefix in it, as in the checkpoint of a Lightning
            module that holds the network, the rest of it is left.
        source: What to call the weights in an error.
        new_head: Allow the weights of the head to be of another number of classes; the head then keeps its own.

    Raises:
        ModelError: If keys are missing, left over, or of another shape, or values are not finite.
    """
    own = model.state_dict()
    weights = _inner_weights(own, weights)
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in own]
    reshaped = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if new_head and len({name.rpartition(".")[0] for name in reshaped}) == 1:
        # One layer of another number of rows is a head for other classes; anything else is another network.
        reshaped = [name for name in reshaped if own[name].shape[1:] != weights[name].shape[1:]]
    shapes = [f"{name} {list(weights[name].shape)} instead of {list(own[name].shape)}" for name in reshaped]
    problems = [
        f"{kind} {_first_few(names)}"
        for kind, names in (("missing:", missing), ("not in the model:", unexpected), ("of another shape:", shapes))
        if names
    ]
    if problems:
        raise ModelError(
            f"{source} does not fit {type(model).__name__}; {'; '.join(problems)}; name the model that it was saved "
            "from"
        )
    usable = {name: weights[name] for name in own if name in weights and own[name].shape == weights[name].shape}
    parameters = dict(model.named_parameters())
    # A buffer may well hold an infinity: the mask of an attention does.
    broken = [k for k, v in usable.items() if bool((~v.isfinite() if k in parameters else v.isnan()).any())]
    if broken:
        raise ModelError(
            f"{source} holds values that are not finite, in {_first_few(broken)}; take a checkpoint from before its "
            "training went astray"
        )
    model.load_state_dict(usable, strict=False)


def _inner_weights(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the part of the weights that has the names of the network, if one prefix holds all of them."""
    wanted = {name for name in own if not name.endswith("num_batches_tracked")}
    if wanted <= weights.keys():
        return weights
    for prefix in dict.fromkeys(name.partition(".")[0] + "." for name in weights):
        inner = {
            _without_prefix(name.removeprefix(prefix)): weights[name] for name in weights if name.startswith(prefix)
        }
        if wanted <= inner.keys():
            return inner
    return weights


def _first_few(names: list[str]) -> str:
    return f"{', '.join(names[:5])}{f' and {len(names) - 5} more' if len(names) > 5 else ''}"


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """Copy a network's state dict to the CPU."""
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}


def to_device(inputs: Any, device: torch.device, *, channels_last: bool = False) -> Any:
    """Move a batch of inputs, a tensor or a dict of tensors, to a device."""
    if isinstance(inputs, Mapping):
        return {name: value.to(device) for name, value in inputs.items()}
    if channels_last and inputs.ndim == 4:
        return inputs.to(device, non_blocking=True, memory_format=torch.channels_last)
    return inputs.to(device, non_blocking=True)


def call_model(model: nn.Module, inputs: Any) -> Tensor:
    """Call a network on a batch, a dict as keyword arguments, and return its logits.

    Args:
        model: Any network.
        inputs: A tensor, or a dict of tensors.

    Returns:
        Logits, shape [N, classes].

    Raises:
        ModelError: If the network returns anything but one such tensor.
    """
    output = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    if not isinstance(output, Tensor) or output.ndim != 2:
        found = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise ModelError(f"{type(model).__name__} must return logits of shape [batch, classes]; it returned {found}")
    return output


def find_head(model: nn.Module, sample_inputs: Any, num_classes: int) -> str:
    """Find the linear layer whose output is the network's output, by calling the network once.

    Args:
        model: Any network; its modes and hooks are as before afterwards.
        sample_inputs: One or more inputs in the form that the network takes.
        num_classes: Outputs that the head has to have.

    Returns:
        The head's module name.

    Raises:
        ModelError: If no linear layer gives the network's output, or with another number of classes.
    """
    outputs: list[tuple[str, Tensor]] = []

    def remember(name: str) -> Callable[..., None]:
        return lambda _module, _inputs, output: outputs.append((name, output))

    linear = [(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    handles = [module.register_forward_hook(remember(name)) for name, module in linear]
    try:
        with torch.no_grad(), module_modes(model, False):
            logits = call_model(model, sample_inputs)
    finally:
        for handle in handles:
            handle.remove()
    found = [name for name, output in outputs if output is logits or torch.equal(output, logits)]
    if not found:
        raise ModelError(
            f"{type(model).__name__} has no head: no linear layer's output is the network's output; linear layers are "
            f"{', '.join(name for name, _ in linear[-5:]) or 'absent'}"
        )
    if logits.shape[1] != num_classes:
        raise ModelError(
            f"{type(model).__name__} has {logits.shape[1]} outputs, the data have {num_classes} classes; load a "
            "network trained on these classes, or build it with that many"
        )
    return found[-1]


def get_head(model: nn.Module, name: str) -> nn.Linear:
    """Return the head by its module name.

    Raises:
        ModelError: If there is no linear layer of that name.
    """
    modules = dict(model.named_modules())
    if not isinstance(modules.get(name), nn.Linear):
        linear = [key for key, module in modules.items() if isinstance(module, nn.Linear)]
        raise ModelError(f"{type(model).__name__} has no linear layer {name!r}{nearest_names(name, linear)}")
    head = modules[name]
    assert isinstance(head, nn.Linear)
    return head


class RepresentationTap:
    """Remember what enters the head while the ``with`` block lasts; the hook is gone afterwards.

    Args:
        model: The network that holds the head.
        head_name: The head's module name.
    """

    def __init__(self, model: nn.Module, head_name: str) -> None:
        self._head = get_head(model, head_name)
        self._representations: Tensor | None = None

    def __enter__(self) -> "RepresentationTap":
        self._handle = self._head.register_forward_pre_hook(self._remember)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.remove()
        self._representations = None

    def _remember(self, _module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self._representations = inputs[0]

    def take(self) -> Float[Tensor, "batch dim"]:
        """Return the representations of the last forward pass, shape [N, D], and forget them."""
        representations, self._representations = self._representations, None
        if representations is None or representations.ndim != 2:
            found = "nothing" if representations is None else f"shape {tuple(representations.shape)}"
            raise ModelError(f"the head must be given representations of shape [batch, dim]; it was given {found}")
        return representations
