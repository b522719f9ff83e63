"""The files that a network can be exported to: how each is written, and how it is run again."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar

import safetensors.torch
import torch
from jaxtyping import Float
from torch import Tensor, nn

from prusc.errors import ConfigError, ModelError, nearest_names
from prusc.models.calls import call_model
from prusc.models.outputs import logits_of
from prusc.models.shrinking import load_compact

INPUT, OUTPUT = "images", "logits"
"""Names of the input and the output in ONNX files."""


class Format(ABC):
    """A kind of file for networks."""

    file_name: ClassVar[str]

    @abstractmethod
    def write(self, model: nn.Module, sample: Float[Tensor, "batch ..."], path: Path) -> None:
        """Write a network.

        Args:
            model: In evaluation mode, on the CPU.
            sample: Some of its inputs; the file takes any number of them.
            path: The file.
        """

    @abstractmethod
    def run(self, path: Path, model: nn.Module, sample: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch classes"]:
        """Return the logits of the network in a file.

        Args:
            path: The file.
            model: A network of the original architecture and size, for files that hold weights only; it is changed.
            sample: Inputs.
        """


class _LogitsOnly(nn.Module):
    """A network that returns its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = logits_of(self.network(images))
        return logits


class Safetensors(Format):
    """A plain state dict. Of a compact network it has smaller tensors, and `load_compact` reads it."""

    file_name = "model.safetensors"

    def write(self, model: nn.Module, sample: Tensor, path: Path) -> None:  # noqa: ARG002 -- no graph is traced
        """Write the state dict."""
        separate = {name: value.detach().contiguous().clone() for name, value in model.state_dict().items()}
        safetensors.torch.save_file(separate, path)

    def run(self, path: Path, model: nn.Module, sample: Tensor) -> Tensor:
        """Load the weights into the network and call it."""
        load_compact(model, safetensors.torch.load_file(path))
        return call_model(model.eval(), sample)


class TorchExport(Format):
    """A file of torch.export, which holds the graph and the weights."""

    file_name = "model.pt2"

    def write(self, model: nn.Module, sample: Tensor, path: Path) -> None:
        """Trace the network with any number of inputs."""
        program = torch.export.export(model, (sample,), dynamic_shapes=({0: torch.export.Dim("batch")},))
        torch.export.save(program, path)

    def run(self, path: Path, model: nn.Module, sample: Tensor) -> Tensor:  # noqa: ARG002 -- the file has the graph
        """Load and call the program."""
        logits: Tensor = torch.export.load(path).module()(sample)
        return logits


class TorchScript(Format):
    """A traced TorchScript file. PyTorch no longer develops this format."""

    file_name = "model.torchscript.pt"

    def write(self, model: nn.Module, sample: Tensor, path: Path) -> None:
        """Trace the network."""
        with _without_advice():
            torch.jit.save(torch.jit.trace(model, sample), path)

    def run(self, path: Path, model: nn.Module, sample: Tensor) -> Tensor:  # noqa: ARG002 -- the file has the graph
        """Load and call the traced network."""
        with _without_advice():
            logits: Tensor = torch.jit.load(path, map_location="cpu")(sample)
        return logits


@contextmanager
def _without_advice() -> Iterator[None]:
    """Leave out PyTorch's advice to use another format, because the user asked for this one."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=FutureWarning)
        warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=DeprecationWarning)
        yield


class Onnx(Format):
    """An ONNX file, for onnxruntime and others."""

    file_name = "model.onnx"

    def write(self, model: nn.Module, sample: Tensor, path: Path) -> None:
        """Translate the network, with any number of inputs."""
        _require("onnxscript")
        program = torch.onnx.export(
            model,
            (sample,),
            dynamo=True,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("batch")},),
            verbose=False,
        )
        assert program is not None, "the exporter returns the program"
        program.save(path)

    def run(self, path: Path, model: nn.Module, sample: Tensor) -> Tensor:  # noqa: ARG002 -- the file has the graph
        """Run the file with onnxruntime."""
        _require("onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        return torch.from_numpy(session.run([OUTPUT], {INPUT: sample.numpy()})[0])


FORMATS: Mapping[str, Format] = {
    "onnx": Onnx(),
    "torch-export": TorchExport(),
    "torchscript": TorchScript(),
    "safetensors": Safetensors(),
}


def get_format(name: str) -> Format:
    """Return a format by its name.

    Raises:
        ConfigError: If the name is unknown.
    """
    if name not in FORMATS:
        raise ConfigError(f"unknown format {name!r}{nearest_names(name, FORMATS)}; known are {', '.join(FORMATS)}")
    return FORMATS[name]


def write_network(kind: Format, model: nn.Module, sample: Tensor, path: Path) -> None:
    """Write a network to a file.

    Raises:
        ConfigError: If a package of the format is not installed.
        ModelError: If the network cannot be written in this format.
    """
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # Exporters warn about their own inner workings.
            warnings.simplefilter("ignore")
            # A graph has one output. The names of weights in a state dict must not change.
            is_plain = isinstance(kind, Safetensors) or isinstance(model(sample), Tensor)
            kind.write(model if is_plain else _LogitsOnly(model).eval(), sample, path)
    except ConfigError:
        raise
    except Exception as error:  # Exporters raise errors of any type for networks that they cannot trace.
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise ModelError(
            f"{type(model).__name__} cannot be written as {path.name} ({reason}); choose another format, for example "
            "safetensors, which traces nothing"
        ) from error


def _require(package: str) -> None:
    try:
        __import__(package)
    except ImportError as error:
        raise ConfigError(
            f"the format onnx needs {package}, which is not installed; pip install 'prusc[onnx]'"
        ) from error
