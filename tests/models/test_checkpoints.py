"""Files and folders of weights, as people save them."""

import json
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import timm
import torch
from timm.models import save_for_hf
from torch import Tensor, nn

from prusc.errors import ConfigError, ModelError
from prusc.models.build import build_model, check_model_name
from prusc.models.checkpoints import read_weights
from prusc.models.model_folders import check_class_order
from tests.networks import generator, random_images

RIGHT = {"layer.weight": torch.arange(6.0).view(2, 3), "layer.bias": torch.zeros(2)}
OTHER = {name: value + 1 for name, value in RIGHT.items()}
OPTIMIZER = {"state": {0: {"exp_avg": torch.ones(2)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


def is_right(found: dict[str, Tensor], expected: dict[str, Tensor] = RIGHT) -> bool:
    return found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)


@pytest.mark.parametrize(
    "content",
    [
        RIGHT,
        {**RIGHT, "epoch": 3, "best": 0.5, "name": "x", "history": [1, 2]},
        *({key: RIGHT, "epoch": 3} for key in ("state_dict", "model_state_dict", "model", "net", "network", "weights")),
        {"my_own_key": RIGHT, "epoch": 3},
        {"model": {"state_dict": RIGHT}, "optimizer": OPTIMIZER},
        {"checkpoint": {"nested": {"net": RIGHT}}},
        {"ema": {"shadow": RIGHT, "decay": 0.99}},
        {"state_dict": RIGHT, "optimizer_states": [OPTIMIZER], "lr_schedulers": [{"last_epoch": 2}], "callbacks": {}},
        {"model": RIGHT, "optimizer": OPTIMIZER, "scaler": {"scale": torch.tensor(2.0)}},
    ],
)
def test_the_state_dict_is_found(tmp_path: Path, content: dict[str, Any]) -> None:
    torch.save(content, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")
    assert is_right(found.tensors)
    assert found.note == ""


@pytest.mark.parametrize(
    ("content", "key", "others"),
    [
        ({"state_dict_ema": OTHER, "state_dict": RIGHT}, "state_dict", "state_dict_ema"),
        ({"model_ema": OTHER, "model": RIGHT}, "model", "model_ema"),
        ({"teacher": OTHER, "student": RIGHT}, "student", "teacher"),
        ({"something": OTHER, "net": RIGHT}, "net", "something"),
    ],
)
def test_of_several_the_usual_one_is_taken_and_told(
    tmp_path: Path, content: dict[str, Any], key: str, others: str
) -> None:
    torch.save(content, tmp_path / "w.pt")
    found = read_weights(tmp_path / "w.pt")
    assert is_right(found.tensors)
    assert found.note == f"weights: {key} of w.pt, which also holds {others}; --trained-key names another"
    assert is_right(read_weights(tmp_path / "w.pt", others).tensors, OTHER)


def test_a_key_that_is_not_there_or_needed_is_named(tmp_path: Path) -> None:
    torch.save({"first": RIGHT, "second": {"inner": OTHER}}, tmp_path / "w.pt")
    with pytest.raises(ModelError, match=r"several state dicts \(first, second.inner\); name one with --trained-key"):
        read_weights(tmp_path / "w.pt")
    assert is_right(read_weights(tmp_path / "w.pt", "second.inner").tensors, OTHER)
    with pytest.raises(ModelError, match=r"has no 'frist' \(trained_key\); did you mean first\?"):
        read_weights(tmp_path / "w.pt", "frist")


def test_programs_are_refused_in_one_line_that_says_what_to_do(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Linear(3, 2))
    torch.jit.trace(network, torch.zeros(1, 3)).save(tmp_path / "scripted.pt")
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3),)), tmp_path / "program.pt2")
    (tmp_path / "graph.onnx").write_bytes(b"\x08\x07")
    for name, kind, how in (
        ("scripted.pt", "a TorchScript archive", r"torch\.jit\.load\(FILE\)\.state_dict\(\)"),
        ("program.pt2", "an exported program", r"torch\.export\.load\(FILE\)\.state_dict"),
        ("graph.onnx", "an ONNX graph", r"model\.state_dict\(\)"),
    ):
        with pytest.raises(ModelError, match=rf"{name} is {kind}, .* save its weights \(.*{how}") as refused:
            read_weights(tmp_path / name)
        assert "\n" not in str(refused.value)
    # What the error says does work.
    safetensors.torch.save_file(torch.jit.load(tmp_path / "scripted.pt").state_dict(), tmp_path / "a.safetensors")
    program = torch.export.load(tmp_path / "program.pt2")
    safetensors.torch.save_file(dict(program.state_dict), tmp_path / "b.safetensors")
    for name in ("a", "b"):
        assert is_right(read_weights(tmp_path / f"{name}.safetensors").tensors, network.state_dict())


def test_folders_hold_one_file_or_several(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"is a folder without weights; expected one of model.safetensors"):
        read_weights(tmp_path)
    names = {"layer.weight": "model-1.safetensors", "layer.bias": "model-2.safetensors"}
    for name, file in names.items():
        safetensors.torch.save_file({name: RIGHT[name]}, tmp_path / file)
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": names}))
    assert is_right(read_weights(tmp_path).tensors)
    index.write_text(json.dumps({"weight_map": {"layer.weight": "../model-1.safetensors"}}))
    with pytest.raises(ModelError, match="which is not a file of this folder"):
        read_weights(tmp_path)
    index.write_text("{}")
    with pytest.raises(ModelError, match=r"index.json cannot be read \(KeyError"):
        read_weights(tmp_path)
    torch.save(RIGHT, tmp_path / "pytorch_model.bin")
    assert is_right(read_weights(tmp_path).tensors)


def test_a_folder_of_timm_is_a_model(tmp_path: Path) -> None:
    saved = timm.create_model("resnet10t", num_classes=3)
    save_for_hf(saved, tmp_path / "net", model_config={"label_names": ["a", "b", "c"]}, safe_serialization=True)
    name = f"local-dir:{tmp_path / 'net'}"
    check_model_name(name)
    images = random_images(1, 32)
    model = build_model(name, 3, generator=generator(), pretrained=True)
    assert torch.equal(model.eval()(images), saved.eval()(images))
    assert not torch.equal(build_model(name, 3, generator=generator()).eval()(images), saved(images))
    assert build_model(name, 5, generator=generator(), pretrained=True).eval()(images).shape == (1, 5)
    assert is_right(read_weights(tmp_path / "net").tensors, saved.state_dict())
    check_class_order(name, ("a", "b", "c"))
    check_class_order(name, ("x", "y", "z"))
    with pytest.raises(ConfigError, match=r"numbers its classes a, b, c, and the data a, c, b; .*classes a b c$"):
        check_class_order(name, ("a", "c", "b"))


def test_a_folder_of_transformers_is_a_model(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8], depths=[1, 1], layer_type="basic", num_labels=3
    )
    saved = transformers.ResNetForImageClassification(config).eval()
    saved.config.id2label = {0: "cat", 1: "ant", 2: "bee"}
    saved.save_pretrained(tmp_path / "net")
    name = f"local-dir:{tmp_path / 'net'}"
    images = random_images(1, 32)
    model = build_model(name, 3, generator=generator(), pretrained=True).eval()
    assert torch.equal(model(images).logits, saved(images).logits)
    check_class_order(name, ("cat", "ant", "bee"))
    with pytest.raises(ConfigError, match=r"numbers its classes cat, ant, bee, and the data ant, bee, cat"):
        check_class_order(name, ("ant", "bee", "cat"))
    assert build_model(name, 5, generator=generator(), pretrained=True).eval()(images).logits.shape == (1, 5)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (None, "config.json cannot be read"),
        ("[]", "names neither architecture"),
        ("{", "config.json cannot be read"),
        ('{"a": 1}', "names neither architecture"),
    ],
)
def test_a_folder_that_is_no_model_is_named(tmp_path: Path, config: str | None, message: str) -> None:
    if config is not None:
        (tmp_path / "config.json").write_text(config)
    with pytest.raises(ConfigError, match=message):
        check_model_name(f"local-dir:{tmp_path}")
