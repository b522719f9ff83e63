import argparse
import copy
import os
import pickle
import warnings
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import Tensor, nn
from torch.nn.utils import prune, weight_norm

from prusc.errors import ModelError
from prusc.models import checkpoints
from prusc.models.build import build_model
from prusc.models.head import find_head, get_head
from prusc.models.weight_names import fit_names
from prusc.models.weights import copy_state, load_weights
from tests.networks import NUM_CLASSES, generator, random_images, small_cnn
from tests.traces import no_trace


def read_weights(path: Path) -> dict[str, Tensor]:
    return checkpoints.read_weights(path).tensors


STATE = {"layer.weight": torch.arange(6.0).view(2, 3), "layer.bias": torch.zeros(2), "norm.count": torch.tensor(3)}


def assert_same_state(found: dict[str, Tensor], expected: dict[str, Tensor] = STATE) -> None:
    assert list(found) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in found.items())


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".tar", ""])
@pytest.mark.parametrize("legacy", [False, True])
def test_a_pytorch_file_is_read(tmp_path: Path, suffix: str, legacy: bool) -> None:
    path = tmp_path / f"weights{suffix}"
    torch.save(STATE, path, _use_new_zipfile_serialization=not legacy)
    assert_same_state(read_weights(path))


@pytest.mark.parametrize("key", ["state_dict", "model"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module."])
def test_a_state_dict_in_a_checkpoint_is_found_and_prefixes_are_taken_off(
    tmp_path: Path, key: str, prefix: str
) -> None:
    path = tmp_path / "checkpoint.pt"
    torch.save({"epoch": 3, key: {prefix + name: value for name, value in STATE.items()}, "best": 0.5}, path)
    assert_same_state(read_weights(path), {prefix + name: value for name, value in STATE.items()})
    # The network decides which names are right.
    assert_same_state(fit_names(STATE, read_weights(path)))


def test_checkpoints_as_timm_and_lightning_write_them_are_read(tmp_path: Path) -> None:
    torch.save({"arch": "x", "state_dict": STATE, "args": argparse.Namespace(lr=0.1, mean=[0.5])}, tmp_path / "timm.pt")
    assert_same_state(read_weights(tmp_path / "timm.pt"))
    inside = {"criterion.weight": torch.ones(2), **{f"net.{name}": value for name, value in STATE.items()}}
    lightning = {"epoch": 1, "pytorch-lightning_version": "2.5.0", "state_dict": OrderedDict(inside), "loops": {}}
    torch.save(lightning | {"hyper_parameters": {"lr": 0.1}, "callbacks": {}}, tmp_path / "last.ckpt")
    assert_same_state(read_weights(tmp_path / "last.ckpt"), inside)


@pytest.mark.skipif("PRUSC_DATA" not in os.environ, reason="PRUSC_DATA does not name the folder of the real weights")
@pytest.mark.parametrize("name", ["torchvision/mobilenet_v2", "mobilenetv2_100"])
def test_real_weights_are_read_and_loaded_with_a_new_head(name: str) -> None:
    path = Path(os.environ["PRUSC_DATA"]) / "weights" / "mobilenet_v2-b0353104.pth"
    model = build_model(name, NUM_CLASSES, generator=generator())
    head = find_head(model, random_images(2, 32), NUM_CLASSES)
    if not name.startswith("torchvision/"):
        # timm's network of that name has other keys.
        with pytest.raises(ModelError, match=r"b0353104\.pth does not fit EfficientNet; missing: conv_stem\.weight"):
            load_weights(model, read_weights(path), source=str(path), new_head=True)
        return
    before = get_head(model, head).weight.clone()
    load_weights(model, read_weights(path), source=str(path), new_head=True)
    assert torch.equal(get_head(model, head).weight, before)
    assert torch.equal(model.state_dict()["features.0.0.weight"], read_weights(path)["features.0.0.weight"])


@pytest.mark.parametrize("prefix", ["model.", "net.", "model._orig_mod."])
def test_weights_under_one_prefix_are_taken_and_the_rest_is_left(prefix: str) -> None:
    source, model = small_cnn(1), small_cnn(2)
    weights = {"loss.weight": torch.ones(2), **{prefix + name: value for name, value in source.state_dict().items()}}
    load_weights(model, weights, source="file", new_head=False)
    assert_same_state(model.state_dict(), source.state_dict())
    weights.pop(f"{prefix}head.bias")
    with pytest.raises(ModelError, match=r"missing: head.bias"):
        load_weights(model, weights, source="file", new_head=False)


def test_names_of_wrappers_may_be_the_networks_own(tmp_path: Path) -> None:
    """As they are in the file, they fit; so does a file that was saved without them."""
    own = {f"module.{name}": value for name, value in STATE.items()}
    assert_same_state(fit_names(own, own), own)
    assert_same_state(fit_names(own, STATE), own)
    assert_same_state(fit_names(own, {f"module.{name}": value for name, value in own.items()}), own)


WRAPPED: dict[str, Callable[[str], str]] = {
    "nothing": lambda name: name,
    "data parallel": lambda name: f"module.{name}",
    "compiled inside": lambda name: name.replace("encoder.", "encoder._orig_mod."),
    "parallel inside": lambda name: name.replace("encoder.", "encoder.module."),
    "lightning": lambda name: f"model.{name}",
    "two prefixes": lambda name: f"student.backbone.{name}",
    "backbone and classifier": lambda name: name.replace("encoder.", "backbone.encoder.").replace(
        "head.", "classifier."
    ),
    "backbone and deep head": lambda name: name.replace("encoder.", "net.encoder.").replace("head.", "cls.out.fc."),
}


@pytest.mark.parametrize("how", WRAPPED)
def test_weights_fit_under_the_names_of_wrappers(how: str) -> None:
    source, model = small_cnn(1), small_cnn(2)
    weights = {WRAPPED[how](name): value for name, value in source.state_dict().items()}
    assert len(weights) == len(source.state_dict())
    load_weights(model, weights, source="file", new_head=False)
    assert_same_state(model.state_dict(), source.state_dict())


def test_weights_in_parts_are_put_together() -> None:
    source = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))
    for change in (
        lambda layer: prune.l1_unstructured(layer, "weight", 0.5),
        nn.utils.parametrizations.weight_norm,
        weight_norm,
    ):
        for place in (0, 1):
            changed, model = copy.deepcopy(source), nn.Sequential(nn.Conv2d(3, 4, 3), nn.Linear(4, 2))
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                change(changed[place])  # type: ignore[no-untyped-call, operator]
            load_weights(model, changed.state_dict(), source="file", new_head=False)
            assert torch.allclose(model[place].weight, changed[place].weight, atol=1e-6)


def test_a_head_of_one_logit_becomes_one_of_two() -> None:
    source, model = nn.Sequential(nn.Linear(3, 1)), nn.Sequential(nn.Linear(3, 2))
    load_weights(model, source.state_dict(), source="file", new_head=False)
    inputs = torch.randn(9, 3)
    assert torch.allclose(model(inputs).softmax(dim=1)[:, 1], source(inputs)[:, 0].sigmoid())


def test_a_backbone_without_a_head_is_a_start() -> None:
    source, model = small_cnn(1), small_cnn(2)
    head = model.head.weight.clone()
    backbone = {name: value for name, value in source.state_dict().items() if not name.startswith("head")}
    load_weights(model, backbone, source="file", new_head=True)
    assert torch.equal(model.head.weight, head)
    assert torch.equal(model.encoder[0].weight, source.encoder[0].weight)
    with pytest.raises(ModelError, match=r"missing: head.weight, head.bias"):
        load_weights(model, backbone, source="file", new_head=False)
    del backbone["encoder.0.weight"]
    with pytest.raises(ModelError, match=r"missing: encoder.0.weight, head.weight, head.bias"):
        load_weights(model, backbone, source="file", new_head=True)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_a_safetensors_file_is_read(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({prefix + name: value for name, value in STATE.items()}, path)
    found = fit_names(STATE, read_weights(path))
    assert_same_state({name: found[name] for name in STATE})
    assert len(found) == len(STATE)


class Malicious:
    """Its code runs when it is unpickled."""

    def __init__(self, witness: Path) -> None:
        self.witness = witness

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.witness),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("how", ["torch", "legacy", "pickle", "nested"])
def test_code_in_a_weight_file_is_not_run(tmp_path: Path, how: str) -> None:
    path, witness = tmp_path / "weights.pt", tmp_path / "witness"
    content = {"state_dict": {**STATE, "x": Malicious(witness)}} if how == "nested" else Malicious(witness)
    if how == "pickle":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how != "legacy")
    with pytest.raises(
        ModelError,
        match=r"weights\.pt is damaged or holds Python objects .* does not open it, .* could run code; save the",
    ):
        read_weights(path)
    assert not witness.exists()
    if how == "pickle":
        # It would have: the test can fail.
        pickle.loads(path.read_bytes())
        assert witness.is_dir()


def test_a_pickled_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    torch.save(nn.Linear(2, 2), path)
    with pytest.raises(ModelError, match="plain state dict"):
        read_weights(path)


@pytest.mark.parametrize("suffix", [".pt", ".legacy", ".safetensors"])
def test_a_truncated_file_is_a_clear_error(tmp_path: Path, suffix: str) -> None:
    whole, path = tmp_path / f"whole{suffix}", tmp_path / f"part{suffix}"
    if suffix == ".safetensors":
        safetensors.torch.save_file(STATE, whole)
    else:
        torch.save(STATE, whole, _use_new_zipfile_serialization=suffix == ".pt")
    content = whole.read_bytes()
    for length in (*range(0, len(content) - 1, 37), len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ModelError, match=f"part{suffix} (cannot be read|is damaged)"):
            read_weights(path)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("content", [b"", b"not weights", b"\x89PNG\r\n\x1a\n" + bytes(100), b"0" * 40, b"a\x81"])
def test_a_file_of_another_kind_is_a_clear_error(tmp_path: Path, suffix: str, content: bytes) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=f"weights{suffix} (cannot be read|is damaged)"):
        read_weights(path)


@pytest.mark.parametrize("name", ["missing.pt", "missing.safetensors"])
def test_a_missing_file_is_a_clear_error(tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelError, match=f"{name} does not exist or is not a file"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize(
    "content", [[torch.ones(1)], None, {}, {"a": 1}, {"state_dict": {}}, {"optimizer": {"b": torch.ones(1)}}]
)
def test_a_file_without_a_state_dict_is_a_clear_error(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(ModelError, match="not a state dict of tensors"):
        read_weights(path)


def test_weights_that_fit_are_copied() -> None:
    model, other = small_cnn(0), small_cnn(1)
    load_weights(model, other.state_dict(), source="file", new_head=False)
    assert_same_state(dict(model.state_dict()), dict(other.state_dict()))
    assert model.head.weight is not other.head.weight


def test_the_count_of_batches_may_be_missing() -> None:
    model, other = small_cnn(0), small_cnn(1)
    weights = {name: value for name, value in other.state_dict().items() if not name.endswith("num_batches_tracked")}
    load_weights(model, weights, source="file", new_head=False)
    assert torch.equal(model.encoder[0].weight, other.encoder[0].weight)


def spoiled(*, head_rows: int | None = None) -> dict[str, Tensor]:
    weights = dict(small_cnn(1).state_dict())
    if head_rows is not None:
        weights["head.weight"], weights["head.bias"] = torch.ones(head_rows, 128), torch.ones(head_rows)
    return weights


@pytest.mark.parametrize("new_head", [False, True])
def test_what_does_not_fit_is_listed_and_nothing_is_loaded(new_head: bool) -> None:
    model = small_cnn(0)
    weights = spoiled()
    del weights["encoder.0.weight"], weights["head.bias"]
    weights |= {"extra": torch.ones(1), "encoder.3.weight": torch.ones(64, 32, 5, 5)}
    with (
        no_trace(model),
        pytest.raises(
            ModelError,
            match=r"file x does not fit SmallCNN; missing: encoder.0.weight, head.bias; "
            r"not in the model: extra; of another shape: encoder.3.weight",
        ),
    ):
        load_weights(model, weights, source="file x", new_head=new_head)


def test_a_long_list_of_keys_is_cut() -> None:
    with pytest.raises(ModelError, match=r"missing: encoder.0.weight, .* and 12 more"):
        load_weights(small_cnn(), {}, source="file", new_head=False)


def test_a_head_of_another_number_of_classes_is_refused_unless_it_is_to_be_new() -> None:
    model, weights = small_cnn(0), spoiled(head_rows=1000)
    before = model.head.weight.clone(), model.head.bias.clone()
    with no_trace(model), pytest.raises(ModelError, match=r"head.weight \[1000, 128\] instead of \[3, 128\], head"):
        load_weights(model, weights, source="file", new_head=False)
    load_weights(model, weights, source="file", new_head=True)
    assert torch.equal(model.head.weight, before[0])
    assert torch.equal(model.head.bias, before[1])
    assert torch.equal(model.encoder[0].weight, weights["encoder.0.weight"])
    assert torch.equal(model.encoder[1].running_var, weights["encoder.1.running_var"])


def test_a_head_of_the_same_size_is_loaded_even_if_it_may_be_new() -> None:
    model, weights = small_cnn(0), spoiled()
    load_weights(model, weights, source="file", new_head=True)
    assert torch.equal(model.head.weight, weights["head.weight"])


def test_a_new_head_is_no_excuse_for_another_width() -> None:
    model, weights = small_cnn(0), spoiled()
    weights["head.weight"] = torch.ones(NUM_CLASSES, 64)
    with no_trace(model), pytest.raises(ModelError, match=r"of another shape: head.weight"):
        load_weights(model, weights, source="file", new_head=True)


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_parameters_that_are_not_finite_are_refused(value: float) -> None:
    model, weights = small_cnn(0), spoiled()
    weights["encoder.3.weight"] = weights["encoder.3.weight"].clone()
    weights["encoder.3.weight"].view(-1)[5] = value
    message = r"file x holds values that are not finite, in encoder\.3\.weight; use an earlier checkpoint"
    with no_trace(model), pytest.raises(ModelError, match=message):
        load_weights(model, weights, source="file x", new_head=False)


def test_a_buffer_may_be_infinite_but_not_nan() -> None:
    """The mask of an attention layer holds infinities."""
    model, weights = small_cnn(0), spoiled()
    weights["encoder.1.running_mean"] = torch.full((32,), -torch.inf)
    load_weights(model, weights, source="file", new_head=False)
    assert (model.encoder[1].running_mean == -torch.inf).all()
    weights["encoder.1.running_mean"] = torch.full((32,), torch.nan)
    with pytest.raises(ModelError, match=r"not finite, in encoder\.1\.running_mean"):
        load_weights(model, weights, source="file", new_head=False)


def test_a_copied_state_does_not_follow_the_network() -> None:
    model = small_cnn(0)
    with no_trace(model):
        state = copy_state(model)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
        model.encoder[1].running_mean.add_(1)
    assert_same_state(state, before)
    assert not any(value.requires_grad for value in state.values())
    assert {value.device.type for value in state.values()} == {"cpu"}
