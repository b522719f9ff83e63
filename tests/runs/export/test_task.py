"""An exported network computes what the run's network does, and its README says how, in code that runs."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

import prusc
from prusc.errors import ConfigError, ModelError, RunFolderError
from prusc.models.build import SmallCNN
from prusc.models.checkpoints import read_weights
from prusc.runs.export import formats, task
from tests.networks import NUM_CLASSES, striped_data
from tests.run_folders import TINY, change_metrics

LIGHT = ["torch-export", "torchscript", "safetensors"]
EVERY = pytest.mark.parametrize("name", [*LIGHT, pytest.param("onnx", marks=pytest.mark.slow)])


def network_of(run: Path) -> nn.Module:
    """The chosen network, loaded by hand."""
    model = SmallCNN(NUM_CLASSES)
    model.load_state_dict(read_weights(run / "model.safetensors").tensors)
    return model.eval()


def picture_of(run: Path) -> tuple[Path, Tensor]:
    """A test image, and the input that it is by hand: these images have the size that the network takes."""
    path = min((run.parent / "images" / "test" / "b").iterdir())
    with Image.open(path) as image:
        values = torch.from_numpy(np.array(image, dtype=np.float32)).permute(2, 0, 1) / 255
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    return path, ((values - mean[:, None, None]) / std[:, None, None])[None]


def run_readme(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Run the README's code in its folder."""
    monkeypatch.chdir(folder)
    code = "\n".join(re.findall(r"```python\n(.*?)```", (folder / "README.md").read_text(), re.DOTALL))
    names: dict[str, Any] = {}
    exec(compile(code, "README.md", "exec"), names)
    return names


def check(run: Path, out: Path, name: str, *, compact: bool, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    found = prusc.export(run, format=name, compact=compact, out=out)
    assert sorted(file.name for file in out.iterdir()) == sorted([found.file.name, "README.md", "preprocessing.json"])
    picture, inputs = picture_of(run)
    shutil.copy(picture, out / "image.png")
    capsys.readouterr()
    names = run_readme(out, monkeypatch)
    with torch.no_grad():
        expected = network_of(run)(inputs)[0]
    torch.testing.assert_close(torch.from_numpy(names["logits"]), expected, rtol=1e-4, atol=1e-5)
    assert capsys.readouterr().out.strip() == "abc"[int(expected.argmax())]
    assert found.largest_difference < 1e-4
    whole = sum(parameter.numel() for parameter in network_of(run).parameters())
    assert found.num_parameters_before == whole
    assert (found.num_parameters < 0.7 * whole) == compact
    assert (found.flops <= 0.5) == compact


@EVERY
def test_a_compact_file_and_its_readme(
    name: str, shared_channel_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    check(shared_channel_run, tmp_path / "out", name, compact=True, monkeypatch=monkeypatch, capsys=capsys)


@EVERY
def test_a_whole_file_and_its_readme(
    name: str, shared_channel_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    check(shared_channel_run, tmp_path / "out", name, compact=False, monkeypatch=monkeypatch, capsys=capsys)


def test_files_of_graphs_are_loaded_without_prusc(shared_channel_run: Path, tmp_path: Path) -> None:
    prusc.export(shared_channel_run, format="torchscript", compact=True, out=tmp_path)
    assert "import prusc" not in (tmp_path / "README.md").read_text()
    assert "from prusc" not in (tmp_path / "README.md").read_text()


def test_the_operations_are_those_of_the_run(shared_channel_run: Path, tmp_path: Path) -> None:
    found = prusc.export(shared_channel_run, format="safetensors", compact=True, out=tmp_path)
    metrics = json.loads((shared_channel_run / "metrics.json").read_text())
    assert found.flops == pytest.approx(metrics["flops"], abs=0.01)


def test_the_network_of_another_remedy_is_exported_too(shared_bench: Path, tmp_path: Path) -> None:
    folder = next(file.parent for file in sorted(shared_bench.rglob("metrics.json")) if "group-dro" in str(file))
    found = prusc.export(folder, format="safetensors", compact=True, out=tmp_path)
    # Nothing was masked, so nothing can go.
    assert found.num_parameters == found.num_parameters_before
    assert "It is the network after" in (tmp_path / "README.md").read_text()


def test_a_run_on_given_data_and_a_given_network_needs_them_again(shared_striped_run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match=r"the data of run folder .* call prusc.export\(.*, data=...\) in Python"):
        prusc.export(shared_striped_run, format="safetensors", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    run = Path(shutil.copytree(shared_striped_run, tmp_path / "run"))
    change_metrics(run, given_in_python=["data", "model"])
    with pytest.raises(RunFolderError, match="the model of run folder"):
        prusc.export(run, format="safetensors", data=striped_data(90))
    found = prusc.export(run, format="safetensors", data=striped_data(90), model=SmallCNN(NUM_CLASSES))
    assert found.folder == run / "export" / "safetensors"
    assert "network = ..." in (found.folder / "README.md").read_text()


ONE_LOGIT = """
from torch import nn


def build(num_classes):
    return nn.Sequential(nn.Conv2d(3, 4, 3, stride=4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 1))
"""


def test_the_code_for_a_network_with_one_logit_gives_it_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "one_logit.py").write_text(ONE_LOGIT)
    monkeypatch.syspath_prepend(str(tmp_path))
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(60) % 2
    images = torch.randint(0, 128, (60, 3, 12, 12), generator=generator) + 100 * labels[:, None, None, None]
    data = prusc.Data.from_arrays(*[(images.to(torch.uint8), labels)] * 3)
    run = tmp_path / "run"
    prusc.debias(data=data, config=replace(TINY, model="one_logit:build"), out=run)
    prusc.export(run, format="safetensors", out=tmp_path / "out", data=data)
    Image.fromarray(images[1].permute(1, 2, 0).numpy().astype(np.uint8)).save(tmp_path / "out" / "image.png")
    weights = read_weights(run / "model.safetensors").tensors
    assert len(weights["3.weight"]) == 2
    names = run_readme(tmp_path / "out", monkeypatch)
    assert torch.equal(names["network"].state_dict()["3.weight"], weights["3.weight"])
    # The card of the run folder has the same code.
    monkeypatch.chdir(run)
    [code] = re.findall(r"```python\n(.*?)```", (run / "model-card.md").read_text(), re.DOTALL)
    card: dict[str, Any] = {}
    exec(compile(code, "model-card.md", "exec"), card)
    assert torch.equal(card["model"].state_dict()["3.weight"], weights["3.weight"])


def test_a_folder_without_a_finished_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="holds no finished run"):
        prusc.export(tmp_path)
    with pytest.raises(ConfigError, match="unknown format"):
        prusc.export(tmp_path, format="keras")


def test_a_file_that_computes_something_else_is_not_written(
    shared_channel_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(formats.Safetensors, "run", lambda *_: torch.zeros(4, NUM_CLASSES))
    with pytest.raises(ModelError, match=r"the logits of model.safetensors differ .* nothing was written"):
        prusc.export(shared_channel_run, format="safetensors", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_a_file_is_refused(shared_channel_run: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(RunFolderError, match="is a file; name a folder with --out"):
        prusc.export(shared_channel_run, format="safetensors", out=tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


def test_layers_that_stay_are_told_by_reason() -> None:
    whole = {"a": "the norm n spans its channels", "b": "the norm n spans its channels", "c": "other"}
    result = task.ExportResult(Path("out"), Path("out/model"), 0.0, 5, 10, 0.5, whole)
    facts = task._facts(result, 4)
    assert "All channels stay in a, b: the norm n spans its channels." in facts
    assert "All channels stay in c: other." in facts
