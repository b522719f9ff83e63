"""Files and folders with weights, as people save them, read without running code."""

import argparse
import json
import pickle
import struct
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from prusc.errors import ModelError, nearest_names

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
# Where checkpoints keep the weights, the usual ones first; averaged weights come last.
_KEYS = (
    "state_dict",
    "model_state_dict",
    "model",
    "net",
    "network",
    "module",
    "weights",
    "params",
    "student",
    "state_dict_ema",
    "model_ema",
    "ema",
    "ema_state_dict",
    "params_ema",
    "teacher",
)
# Entries beside the weights whose tensors are none.
_NO_WEIGHTS = ("optim", "sched", "scaler", "loops", "callbacks", "rng", "hyper", "loss")
# What timm and transformers call the weights in a folder.
_IN_FOLDERS = ("model.safetensors", "pytorch_model.bin", "model.safetensors.index.json", "pytorch_model.bin.index.json")
_OTHER_KINDS = {
    ".onnx": "an ONNX graph",
    ".h5": "a Keras file",
    ".keras": "a Keras file",
    ".tflite": "a TensorFlow Lite graph",
    ".engine": "a TensorRT engine",
    ".mlmodel": "a Core ML graph",
    ".gguf": "a GGUF file",
}


@dataclass(frozen=True, eq=False)
class FileWeights:
    """The weights of a file.

    Attributes:
        tensors: Tensors on the CPU, by the name that the file gives them.
        note: Which of several state dicts in the file was read; empty if there is one.
    """

    tensors: dict[str, Tensor]
    note: str = ""


def read_weights(path: Path, key: str | None = None) -> FileWeights:
    """Read a state dict from a file or folder, without running code from it.

    Args:
        path: ``*.safetensors``, a file that ``torch.load(weights_only=True)`` accepts, or a folder that timm or
            transformers saved. A file holds a state dict, or a dict with one or more of them, as checkpoints do.
        key: Name of the state dict in the file; names of nested ones are joined by dots. ``None`` takes the usual one.

    Returns:
        The weights.

    Raises:
        ModelError: If the file is missing or damaged, holds other objects than tensors, or would run code.
    """
    if path.is_dir():
        return FileWeights(_read_folder(path))
    if not path.is_file():
        raise ModelError(f"weight file {path} does not exist or is not a file")
    content = _read_file(path)
    if isinstance(content, Mapping) and key is not None:
        return FileWeights(_tensors_of(_look_up(content, key, path), path))
    if not isinstance(content, Mapping):
        return FileWeights(_tensors_of(content, path))
    found = _find_states(content)
    if not found:
        return FileWeights(_tensors_of(content, path))
    names = list(found)
    if len(names) == 1:
        return FileWeights(found[names[0]])
    usual = [name for known in _KEYS for name in names if known in name.split(".")]
    if not usual:
        raise ModelError(
            f"weight file {path} holds several state dicts ({', '.join(names[:8])}); name one with --trained-key"
        )
    others = ", ".join(name for name in names if name != usual[0])
    return FileWeights(
        found[usual[0]], f"weights: {usual[0]} of {path.name}, which also holds {others}; --trained-key names another"
    )


def _read_folder(path: Path) -> dict[str, Tensor]:
    for name in _IN_FOLDERS:
        file = path / name
        if not file.is_file():
            continue
        if not name.endswith(".index.json"):
            return read_weights(file).tensors
        try:
            parts = sorted(set(json.loads(file.read_text("utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError, OSError) as error:
            raise ModelError(
                f"{file} cannot be read ({type(error).__name__}: {error}); copy the folder again"
            ) from error
        tensors: dict[str, Tensor] = {}
        for part in parts:
            if Path(part).name != part:
                raise ModelError(f"{file} names {part!r}, which is not a file of this folder; copy the folder again")
            tensors |= read_weights(path / part).tensors
        return tensors
    raise ModelError(
        f"weight file {path} is a folder without weights; expected one of {', '.join(_IN_FOLDERS)}, as timm and "
        "transformers save them"
    )


def _read_file(path: Path) -> Any:
    kind = _OTHER_KINDS.get(path.suffix.lower()) or _kind_of_archive(path)
    if kind is not None:
        how = {
            "a TorchScript archive": "safetensors.torch.save_file(torch.jit.load(FILE).state_dict(), NEW)",
            "an exported program": "safetensors.torch.save_file(dict(torch.export.load(FILE).state_dict), NEW)",
        }.get(kind, "model.state_dict() of the PyTorch network")
        raise ModelError(
            f"weight file {path} is {kind}, whose layers prusc cannot reach; save its weights ({how}), and name the "
            "network with --model"
        )
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        # timm stores its training arguments with the weights. They are names and values, not code.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            # PyTorch warns about the pickle protocol of a file that is refused anyway.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
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


def _kind_of_archive(path: Path) -> str | None:
    """Return what a zip archive is, if it holds a program rather than weights."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except (OSError, zipfile.BadZipFile):
        return None
    inside = [name.partition("/")[2] for name in names]
    if "constants.pkl" in inside and any(name.startswith("code/") for name in inside):
        return "a TorchScript archive"
    marks = ("archive_format", "serialized_exported_program.json")
    return "an exported program" if any(name.rpartition("/")[2] in marks for name in names) else None


def _find_states(content: Mapping[Any, Any], before: str = "", depth: int = 3) -> dict[str, dict[str, Tensor]]:
    """Return the state dicts in a dictionary by their names; none if it is one itself."""
    found: dict[str, dict[str, Tensor]] = {}
    for key, value in content.items():
        is_other = not before and any(word in str(key).lower() for word in _NO_WEIGHTS)
        if not isinstance(value, Mapping) or not value or is_other:
            continue
        name = f"{before}{key}"
        if all(isinstance(key, str) for key in value) and any(isinstance(v, Tensor) for v in value.values()):
            found[name] = {str(k): v for k, v in value.items() if isinstance(v, Tensor)}
        elif depth:
            found |= _find_states(value, f"{name}.", depth - 1)
    if not before and not any(name.split(".")[0] in _KEYS for name in found) and _is_state(content):
        return {}
    return found


def _is_state(content: Any) -> bool:
    return isinstance(content, Mapping) and any(isinstance(value, Tensor) for value in content.values())


def _look_up(content: Mapping[Any, Any], key: str, path: Path) -> Any:
    if key in content:
        return content[key]
    value: Any = content
    for part in key.split("."):
        if not isinstance(value, Mapping) or part not in value:
            known = list(_find_states(content))
            raise ModelError(
                f"weight file {path} has no {key!r} (trained_key){nearest_names(key, known)}; it holds "
                f"{', '.join(known) or 'one state dict without a name'}"
            )
        value = value[part]
    return value


def _tensors_of(content: Any, path: Path) -> dict[str, Tensor]:
    """Return the tensors of a state dict; numbers beside them, such as the epoch, are left out."""
    is_state = _is_state(content) and all(
        isinstance(value, Tensor | int | float | str | None | Mapping | list | tuple) for value in content.values()
    )
    if not is_state:
        raise ModelError(
            f"weight file {path} holds {type(content).__name__}, not a state dict of tensors; save model.state_dict(), "
            "best with safetensors.torch.save_file"
        )
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}
