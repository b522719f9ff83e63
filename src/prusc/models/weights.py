"""Weights: read them from files without running code, and copy them into networks."""

import argparse
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from prusc.errors import ModelError

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
