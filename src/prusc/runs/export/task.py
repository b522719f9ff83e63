"""The task: export the chosen network of a run, and check the file on real inputs."""

import copy
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.data import Data, InputTransform
from prusc.data.batches import take_inputs
from prusc.engine.progress import SilentProgress
from prusc.errors import ModelError, RunFolderError
from prusc.models.calls import call_model
from prusc.models.channels import agree, find_channels
from prusc.models.checkpoints import read_weights
from prusc.models.flops import count_flops
from prusc.models.head import find_head
from prusc.models.shrinking import shrink
from prusc.models.weights import load_weights
from prusc.runs.export.formats import get_format, write_network
from prusc.runs.export.preprocessing import describe_preprocessing
from prusc.runs.export.readme import make_readme
from prusc.runs.folder import METRICS, RunFolder
from prusc.runs.inputs import build_run_model, load_run_data, prepare_model

NUM_SAMPLES = 4
"""Number of images that the file is checked on."""


@dataclass(frozen=True)
class ExportResult:
    """An exported network.

    Attributes:
        folder: The folder that holds the files.
        file: The network.
        largest_difference: Largest difference between its logits and those of the run's network on the images that it
            was checked on.
        num_parameters: Number of its parameters.
        num_parameters_before: Number of parameters of the run's network.
        flops: Share of the operations of the run's network that it needs.
        whole: Of a compact network, for each layer whose output channels all had to stay, the reason.
    """

    folder: Path
    file: Path
    largest_difference: float
    num_parameters: int
    num_parameters_before: int
    flops: float
    whole: Mapping[str, str]


def export(
    folder: Path | str,
    *,
    format: str = "onnx",  # noqa: A002 -- as the option is called
    compact: bool = False,
    out: Path | str | None = None,
    model: nn.Module | None = None,
    data: Data | None = None,
) -> ExportResult:
    """Export the chosen network of a finished run, with a README and what it expects of an image.

    Args:
        folder: The run folder.
        format: ``onnx``, ``torch-export``, ``torchscript`` or ``safetensors``.
        compact: Remove the channels that no layer reads, which gives a smaller network with the same outputs.
        out: Folder for the files; a folder of the run folder if ``None``, such as ``export/onnx-compact``.
        model: A network of the run's architecture, if the run was given one in Python.
        data: The data of the run, if it was given them in Python.

    Returns:
        What was written, and how far its outputs are from those of the run's network.

    Raises:
        ConfigError: If the format is unknown or a package is missing.
        ModelError: If the network cannot be exported, or the file computes something else.
        RunFolderError: If the folder holds no finished run, or the network or data have to be given.
    """
    kind = get_format(format)
    run = RunFolder(Path(folder))
    metrics = _read_metrics(run)
    config = replace(run.read_config(), weights=None, trained=None, trained_key=None, pretrained=False)
    model, data, dense = _load(run, config, metrics, model, data)
    stored = take_inputs(data.test.inputs, torch.arange(min(NUM_SAMPLES, len(data.test))))
    sample = InputTransform(data.mean, data.std, crop_size=config.data_options.crop_size)(stored)
    if not isinstance(sample, Tensor):
        raise ModelError("only networks of one input tensor can be exported; this one takes several by name")
    with torch.no_grad():
        expected = call_model(model, sample)
    small, whole = _compact(model, sample) if compact else (model, {})
    target = run.path / "export" / (f"{format}-compact" if compact else format) if out is None else Path(out)
    with _folder_beside(target) as temporary:
        path = Path(temporary) / kind.file_name
        write_network(kind, small, sample, path)
        difference = _check(kind.run(path, dense, sample.clone()), expected, path.name)
        few = sample[:1]
        result = ExportResult(
            folder=target,
            file=target / kind.file_name,
            largest_difference=difference,
            num_parameters=_num_parameters(small),
            num_parameters_before=_num_parameters(model),
            flops=count_flops(small, few).total / max(count_flops(model, few).total, 1),
            whole=whole,
        )
        preprocessing = describe_preprocessing(config, data, stored, sample)
        own = RunFolder(Path(temporary))
        own.write_json("preprocessing.json", preprocessing)
        text = make_readme(metrics, preprocessing, _facts(result, len(sample)), format_name=format, is_compact=compact)
        own.write_bytes("README.md", text.encode("utf-8", "replace"))
        _move(Path(temporary), target)
    return result


def _read_metrics(run: RunFolder) -> dict[str, Any]:
    if not run.is_finished:
        raise RunFolderError(
            f"folder {run.path} holds no finished run (it has no {METRICS}); name the --out of a prusc run that is "
            "finished"
        )
    metrics: dict[str, Any] = run.read_json(METRICS)
    if not run.has("model.safetensors"):
        raise RunFolderError(f"run folder {run.path} has no model.safetensors; run it again with --force")
    return metrics


def _load(
    run: RunFolder, config: RunConfig, metrics: Mapping[str, Any], model: nn.Module | None, data: Data | None
) -> tuple[nn.Module, Data, nn.Module]:
    """Return the chosen network, the data, and a network of the same architecture to load a file into."""
    for name, value in (("model", model), ("data", data)):
        if value is None and name in metrics.get("given_in_python", ()):
            raise RunFolderError(
                f"the {name} of run folder {run.path} was given in Python, so prusc cannot make it; call "
                f"prusc.export({str(run.path)!r}, {name}=...) in Python"
            )
    data = load_run_data(config, SilentProgress()) if data is None else data
    dense = build_run_model(config, data, None) if model is None else prepare_model(model, data, config)
    network = copy.deepcopy(dense)
    load_weights(
        network, read_weights(run.path / "model.safetensors").tensors, source=f"run folder {run.path}", new_head=False
    )
    return network.eval(), data, dense.eval()


def _compact(model: nn.Module, sample: Tensor) -> tuple[nn.Module, Mapping[str, str]]:
    channels = find_channels(model, sample, head_name=find_head(model, sample))
    return shrink(model, channels.groups).eval(), channels.whole


def _check(found: Tensor, expected: Tensor, name: str) -> float:
    """Return the largest difference of the outputs; refuse a file that computes something else."""
    difference = float((found.detach() - expected).abs().max())
    if not agree(found.detach(), expected):
        raise ModelError(
            f"the logits of {name} differ from those of the network by up to {difference:.3g}, more than rounding "
            "explains; nothing was written: try another format, or export without compact"
        )
    return difference


def _facts(result: ExportResult, num_samples: int) -> list[str]:
    """Return what was exported, in sentences."""
    facts = [
        f"{result.num_parameters:,} parameters and {100 * result.flops:.0f} % of the operations of the run's network, "
        f"which has {result.num_parameters_before:,} parameters.",
        f"Checked on {num_samples} test images: its logits differ by at most {result.largest_difference:.2g}.",
    ]
    if result.whole:
        by_reason: dict[str, list[str]] = {}
        for name, reason in result.whole.items():
            by_reason.setdefault(reason, []).append(name)
        facts += [f"All channels stay in {', '.join(names)}: {reason}." for reason, names in by_reason.items()]
    return facts


def _num_parameters(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def _folder_beside(target: Path) -> tempfile.TemporaryDirectory[str]:
    """Return a temporary folder on the same disk, so that files can be moved into the target."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.")
    except OSError as error:
        raise RunFolderError(
            f"folder {target} cannot be written: {error.strerror or error}; name another one with --out"
        ) from error


def _move(source: Path, target: Path) -> None:
    if target.exists() and not target.is_dir():
        raise RunFolderError(f"{target} is a file; name a folder with --out")
    target.mkdir(parents=True, exist_ok=True)
    for file in source.iterdir():
        shutil.move(str(file), str(target / file.name))
