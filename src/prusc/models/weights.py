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

# Errors that PyTorch's reader raises; the place of the damage in the file decides which.
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
    """Read a state dict from a safetensors file or a PyTorch file, without running code from it.

    Args:
        path: ``*.safetensors``, or a file that ``torch.load(weights_only=True)`` accepts. It holds a state dict, or a
            dict with one under ``state_dict`` or ``model``, as checkpoints of timm and Lightning do. The prefixes
            ``module.`` and ``_orig_mod.`` are removed.

    Returns:
        Tensors on the CPU by name.

    Raises:
        ModelError: If the file is missing or damaged, holds other objects than tensors, or would run code.
    """
    if not path.is_file():
        raise ModelError(f"weight file {path} does not exist or is not a file")
    try:
        if path.suffix == ".safetensors":
            content: Any = safetensors.torch.load_file(path)
        else:
            # timm stores its training arguments with the weights. They are names and values, not code.
            with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
                # PyTorch warns about the pickle protocol of a file that is refused anyway.
                warnings.simplefilter("ignore")
                content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            f"weight file {path} is damaged or holds Python objects besides tensors. prusc does not open it, because "
            "reading those could run code; save the plain state dict, best with safetensors.torch.save_file"
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
            f"weight file {path} holds {type(content).__name__}, not a state dict of tensors; save model.state_dict(), "
            "best with safetensors.torch.save_file"
        )
    return {_without_prefix(str(name)): tensor for name, tensor in content.items()}


def _without_prefix(name: str) -> str:
    while name.startswith(("module.", "_orig_mod.")):
        name = name.split(".", 1)[1]
    return name


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], *, source: str, new_head: bool) -> None:
    """Copy weights into a network: all of them or, after an error, none.

    Args:
        model: Network that is changed in place.
        weights: State dict. If one prefix holds the whole network, as in a checkpoint of a Lightning module, the rest
            is ignored.
        source: Name of the weights, for the error.
        new_head: Accept a head with another number of classes; the network then keeps its own head.

    Raises:
        ModelError: If keys are missing, unexpected or of another shape, or values are not finite.
    """
    own = model.state_dict()
    weights = _inner_weights(own, weights)
    missing = [name for name in own if name not in weights and not name.endswith("num_batches_tracked")]
    unexpected = [name for name in weights if name not in own]
    reshaped = [name for name in own if name in weights and own[name].shape != weights[name].shape]
    if new_head and len({name.rpartition(".")[0] for name in reshaped}) == 1:
        # If one layer differs, in its number of rows only, it is a head for other classes. Else it is another network.
        reshaped = [name for name in reshaped if own[name].shape[1:] != weights[name].shape[1:]]
    shapes = [f"{name} {list(weights[name].shape)} instead of {list(own[name].shape)}" for name in reshaped]
    problems = [
        f"{kind} {_first_few(names)}"
        for kind, names in (("missing:", missing), ("not in the model:", unexpected), ("of another shape:", shapes))
        if names
    ]
    if problems:
        raise ModelError(
            f"{source} does not fit {type(model).__name__}; {'; '.join(problems)}; name the model "
            "whose weights these are"
        )
    usable = {name: weights[name] for name in own if name in weights and own[name].shape == weights[name].shape}
    parameters = dict(model.named_parameters())
    # A buffer may hold an infinity, as the mask of an attention layer does.
    broken = [k for k, v in usable.items() if bool((~v.isfinite() if k in parameters else v.isnan()).any())]
    if broken:
        raise ModelError(
            f"{source} holds values that are not finite, in {_first_few(broken)}; use an "
            "earlier checkpoint, from before the training diverged"
        )
    model.load_state_dict(usable, strict=False)


def _inner_weights(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    """Return the weights under the prefix that holds the whole network, without the prefix; else all weights."""
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
    """Return a copy of a network's state dict on the CPU."""
    return {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
