"""What a run was made from: a digest of its data and files, so that a folder is never continued with others."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from prusc.config import RunConfig
from prusc.data import Data
from prusc.data.framing import FramedImage
from prusc.data.images import ImageFiles
from prusc.data.table import Split
from prusc.errors import RunFolderError
from prusc.runs.artifacts import ERM_WEIGHTS
from prusc.runs.folder import RunFolder

_FILE = "stages/made_from.json"
_CHUNK = 2**24
_WHAT = {"sample_ids": "the names or the order", "labels": "the labels", "inputs": "the inputs"}


def check_made_from(folder: RunFolder, data: Data, config: RunConfig) -> list[str]:
    """Remember what a run is made from, or refuse a run in the folder that was made from something else.

    Args:
        folder: An open run folder.
        data: The data of the run.
        config: Its settings, which name files.

    Returns:
        What may have changed, for the log: image files that were written anew. They are not refused, because one that
        was damaged may have been put right.

    Raises:
        RunFolderError: If samples, labels, splits, classes, pixels, the normalisation or a named file changed after
            the first stage.
    """
    now = describe_inputs(data, config)
    changes, rewritten = _compare(folder, now)
    if changes and folder.has(ERM_WEIGHTS):
        raise RunFolderError(
            f"run folder {folder.path} holds a run on other data ({'; '.join(changes[:4])}); name another folder with "
            "--out, or delete that run with --force"
        )
    folder.write_json(_FILE, now)
    return [
        f"image files of {name} were written anew since this run was begun; if their images are others now, begin anew "
        "with --force"
        for name in rewritten
    ]


def compare_made_from(folder: RunFolder, data: Data, config: RunConfig) -> tuple[list[str], list[str]]:
    """Compare what a run was made from with what is there now, and change nothing.

    Args:
        folder: A run folder, finished or not.
        data: The data, loaded by the settings of the run.
        config: Its settings.

    Returns:
        What changed; and the splits whose image files were written anew. Both are empty for a run of an older prusc.
    """
    return _compare(folder, describe_inputs(data, config))


def knows_made_from(folder: RunFolder) -> bool:
    """Return whether a run folder tells what the run was made from."""
    return folder.has(_FILE)


def _compare(folder: RunFolder, now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    # A folder of an older prusc has no such file; it is believed.
    before = folder.read_json(_FILE) if folder.has(_FILE) else now
    rewritten = [name for name, split in now["splits"].items() if before["splits"][name]["files"] != split["files"]]
    return _list_changes(before, now), rewritten


def describe_inputs(data: Data, config: RunConfig) -> dict[str, Any]:
    """Return digests of the data, and of the files that the settings name, as plain values."""
    # Another trained network comes to light in its weights themselves.
    named = {"clustering.from_csv": config.clustering.from_csv, "weights": config.weights}
    return {
        "classes": list(data.class_names),
        "normalisation": [list(data.mean), list(data.std)],
        "splits": {name: _describe_split(split) for name, split in data.splits.items()},
        "files": {name: _digest_file(path) for name, path in named.items() if path is not None and path.is_file()},
    }


def _describe_split(split: Split) -> dict[str, Any]:
    return {
        "num_samples": len(split),
        "sample_ids": _digest("\0".join(split.sample_ids).encode("utf-8", "backslashreplace")),
        "labels": _digest_tensor(split.labels),
        "inputs": _digest_inputs(split.inputs),
        "files": _digest_files(split.inputs),
    }


def _digest_inputs(inputs: Any) -> str | None:
    """Return a digest of pixels in memory, or of the places of files; ``None`` for anything else."""
    if isinstance(inputs, Tensor):
        return _digest_tensor(inputs)
    if not isinstance(inputs, ImageFiles):
        return None
    # An image inside another file knows its place there; to describe that whole file for each would take minutes.
    places = "\0".join(str(getattr(source, "place", source)) for source in inputs.paths)
    return _digest(f"{inputs.size} {places}".encode("utf-8", "backslashreplace"))


def _digest_files(inputs: Any) -> str | None:
    """Return a digest of size and time of files; ``None`` if the inputs are none."""
    if not isinstance(inputs, ImageFiles):
        return None
    files = (source.source if isinstance(source, FramedImage) else source for source in inputs.paths)
    status = [Path(file).stat() for file in files if isinstance(file, str | Path)]
    return _digest(" ".join(f"{found.st_size} {found.st_mtime_ns}" for found in status).encode())


def _digest_tensor(values: Tensor) -> str:
    found = hashlib.blake2b(f"{values.dtype} {list(values.shape)}".encode(), digest_size=16)
    flat = values.detach().cpu().contiguous().flatten().view(torch.uint8)
    for part in flat.split(_CHUNK):
        found.update(part.numpy().data)
    return found.hexdigest()


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _list_changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    changes = []
    if before["classes"] != now["classes"]:
        changes.append(f"the classes were {', '.join(before['classes'])}, are {', '.join(now['classes'])}")
    for name, split in now["splits"].items():
        old = before["splits"][name]
        if old["num_samples"] != split["num_samples"]:
            changes.append(f"{name} had {old['num_samples']} samples, has {split['num_samples']}")
            continue
        differing = [text for key, text in _WHAT.items() if old[key] != split[key]]
        if differing:
            changes.append(f"{' and '.join(differing)} of {name} changed")
    if before["normalisation"] != now["normalisation"]:
        changes.append(f"the normalisation was {before['normalisation']}, is {now['normalisation']}")
    changes += [
        f"the file of {name} changed"
        for name in now["files"]
        if before["files"].get(name, now["files"][name]) != now["files"][name]
    ]
    return changes
