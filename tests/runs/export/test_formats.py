import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from prusc.errors import ConfigError, ModelError
from prusc.runs.export.formats import FORMATS, get_format, write_network
from tests.networks import random_images, small_cnn

LIGHT = ["torch-export", "torchscript", "safetensors"]


class Counting(nn.Module):
    """A network whose forward pass depends on its input, which no tracer can follow."""

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs if float(inputs.sum()) > 1 else -inputs


@pytest.mark.parametrize("name", [*LIGHT, pytest.param("onnx", marks=pytest.mark.slow)])
def test_a_file_takes_batches_of_other_sizes(name: str, tmp_path: Path) -> None:
    model, kind = small_cnn(), get_format(name)
    path = tmp_path / kind.file_name
    write_network(kind, model, random_images(4, 8), path)
    assert [file.name for file in tmp_path.iterdir()] == [kind.file_name]
    for num_images in (1, 7):
        inputs = random_images(num_images, 8, seed=num_images)
        found = kind.run(path, small_cnn(seed=1), inputs).detach()
        torch.testing.assert_close(found, model(inputs).detach(), rtol=1e-4, atol=1e-5)


class Named(nn.Module):
    """A network that returns its logits by name, beside something else."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small_cnn()

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {"loss": images.mean(), "logits": self.network(images)}


@pytest.mark.parametrize("name", LIGHT)
def test_of_several_outputs_the_logits_are_exported(name: str, tmp_path: Path) -> None:
    model, kind, inputs = Named().eval(), get_format(name), random_images(3, 8)
    path = tmp_path / kind.file_name
    write_network(kind, model, inputs, path)
    found = kind.run(path, Named(), inputs).detach()
    torch.testing.assert_close(found, model(inputs)["logits"].detach(), rtol=1e-4, atol=1e-5)


def test_names_of_files_differ() -> None:
    assert len({kind.file_name for kind in FORMATS.values()}) == len(FORMATS)


def test_an_unknown_format_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ConfigError, match=r"unknown format 'onx'; did you mean onnx\?; known are onnx, torch-export"):
        get_format("onx")


def test_a_network_that_cannot_be_traced_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"Counting cannot be written as model.pt2 .*choose another format"):
        write_network(get_format("torch-export"), Counting(), torch.ones(2, 3), tmp_path / "model.pt2")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(ConfigError, match=r"needs onnxscript, .* pip install 'prusc\[onnx\]'"):
        write_network(get_format("onnx"), small_cnn(), random_images(2, 8), tmp_path / "model.onnx")
