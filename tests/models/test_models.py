import argparse
import os
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
import torchvision
from torch import Tensor, nn

from prusc.errors import ConfigError, ModelError
from prusc.models.build import SmallCNN, build_model, model_normalisation
from prusc.models.calls import call_model, to_device
from prusc.models.head import RepresentationTap, find_head, get_head
from prusc.models.weights import load_weights, read_weights
from tests.networks import (
    NUM_CLASSES,
    Attentive,
    Recurrent,
    Tied,
    generator,
    random_images,
    random_sequences,
    randomise,
    resnet18,
    small_cnn,
    vit_tiny,
)
from tests.traces import no_trace


def mobilenet_v2() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        return torchvision.models.mobilenet_v2(num_classes=NUM_CLASSES)


# ------------------------------------------------------------------------------------------------------------- build


def test_a_generator_decides_the_random_weights() -> None:
    state = torch.get_rng_state()
    first, again, other = (build_model("small-cnn", 4, generator=generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    assert isinstance(first, SmallCNN)
    assert first.head.out_features == 4
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))
    assert not torch.equal(first.head.weight, other.head.weight)


def test_a_name_of_torchvision_takes_torchvision_weights_and_their_normalisation() -> None:
    model = build_model("torchvision/mobilenet_v2", NUM_CLASSES, generator=generator(1))
    load_weights(model, mobilenet_v2().state_dict(), source="file", new_head=False)
    assert type(model) is torchvision.models.MobileNetV2
    assert model_normalisation("torchvision/mobilenet_v2") == model_normalisation("resnet18")
    with pytest.raises(ConfigError, match="did you mean torchvision/mobilenet_v2"):
        build_model("torchvision/mobilenetv2", NUM_CLASSES, generator=generator(1))


def test_any_name_of_timm_builds_a_network() -> None:
    state = torch.get_rng_state()
    first, again = (build_model("mobilenetv3_small_050", 5, generator=generator(1)) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert first.get_classifier().out_features == 5
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), again.parameters(), strict=True))


@pytest.mark.parametrize("name", ["small-cnn", "torchvision/small-cnn", "resnet18.nothing"])
def test_what_has_no_published_weights_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"has no published weights|unknown model"):
        build_model(name, 2, generator=generator(), pretrained=True)


# The hub's client tries again for most of a minute.
@pytest.mark.parametrize("name", [pytest.param("resnet18", marks=pytest.mark.slow), "torchvision/resnet18"])
def test_a_server_that_cannot_be_reached_is_one_clear_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no route to host")

    monkeypatch.setattr("socket.create_connection", no_network)
    monkeypatch.setattr("socket.socket.connect", no_network)
    monkeypatch.setattr("socket.getaddrinfo", no_network)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    state = torch.get_rng_state()
    with pytest.raises(ModelError, match=f"published weights of '{name}' cannot be downloaded .*--weights"):
        build_model(name, 2, generator=generator(), pretrained=True)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.skipif("PRUSC_DATA" not in os.environ, reason="PRUSC_DATA does not name the folder of the real weights")
def test_published_weights_keep_the_users_number_of_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a download: the file lies where torchvision looks first."""
    path = Path(os.environ["PRUSC_DATA"]) / "weights" / "mobilenet_v2-b0353104.pth"
    default = torchvision.models.MobileNet_V2_Weights.DEFAULT
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / Path(default.url).name).symlink_to(path)
    monkeypatch.setattr("torch.hub.get_dir", lambda: str(tmp_path))
    model = build_model("torchvision/mobilenet_v2", NUM_CLASSES, generator=generator(), pretrained=True)
    assert torch.equal(model.state_dict()["features.0.0.weight"], read_weights(path)["features.0.0.weight"])
    assert model.eval()(torch.zeros(1, 3, 32, 32)).shape == (1, NUM_CLASSES)


@pytest.mark.parametrize(("name", "hint"), [("resnet81", "did you mean resnet"), ("small_cnn", "small-cnn"), ("", "")])
def test_an_unknown_name_is_an_error_with_the_nearest_ones(name: str, hint: str) -> None:
    state = torch.get_rng_state()
    with pytest.raises(ConfigError, match=f"unknown model '{name}'.*{hint}"):
        build_model(name, 4, generator=generator())
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("size", [8, 28, 33, 64])
def test_the_small_network_takes_images_of_any_size(size: int) -> None:
    assert SmallCNN(4, in_channels=2)(torch.zeros(3, 2, size, size)).shape == (3, 4)


def test_the_normalisation_is_that_of_the_pretrained_weights() -> None:
    mean, std = model_normalisation("resnet18") or ((), ())
    assert mean == pytest.approx((0.485, 0.456, 0.406))
    assert std == pytest.approx((0.229, 0.224, 0.225))
    assert model_normalisation("small-cnn") is None
    assert model_normalisation("nothing") is None


# ------------------------------------------------------------------------------------------------------ read weights


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
    assert_same_state(read_weights(path))


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
    with pytest.raises(ModelError, match=f"missing: encoder.*not in the model: loss.weight, {prefix}encoder"):
        load_weights(model, weights, source="file", new_head=False)


def test_only_leading_prefixes_are_taken_off(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"encoder.module.weight": torch.ones(1)}, path)
    assert list(read_weights(path)) == ["encoder.module.weight"]


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
def test_a_safetensors_file_is_read(tmp_path: Path, prefix: str) -> None:
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({prefix + name: value for name, value in STATE.items()}, path)
    found = read_weights(path)
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


@pytest.mark.parametrize("name", ["missing.pt", "missing.safetensors", "folder"])
def test_a_missing_file_is_a_clear_error(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(ModelError, match=f"{name} does not exist or is no file"):
        read_weights(tmp_path / name)


@pytest.mark.parametrize(
    "content", [[torch.ones(1)], None, {}, {"a": 1}, {"state_dict": {}}, {"a": {"b": torch.ones(1)}}]
)
def test_a_file_without_a_state_dict_is_a_clear_error(tmp_path: Path, content: object) -> None:
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(ModelError, match="not a state dict of tensors"):
        read_weights(path)


# ------------------------------------------------------------------------------------------------------ load weights


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


# --------------------------------------------------------------------------------------------------------- the head

HEADS: dict[str, tuple[Any, Any, str]] = {
    "small-cnn": (small_cnn, random_images(2), "head"),
    "timm resnet18": (resnet18, random_images(2, 32), "fc"),
    "torchvision mobilenet_v2": (mobilenet_v2, random_images(2, 32), "classifier.1"),
    "timm vit": (vit_tiny, random_images(2, 32), "head"),
    "lstm": (Recurrent, random_sequences(2), "head"),
    "tied": (Tied, torch.zeros(2, 3, dtype=torch.long), "head"),
    "attention": (Attentive, torch.ones(2, 5, 4), "head"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_the_head_is_found_without_a_trace(kind: str) -> None:
    build, inputs, expected = HEADS[kind]
    model = randomise(build()).train()
    next(model.children()).eval()
    with no_trace(model):
        assert find_head(model, inputs, NUM_CLASSES) == expected
    assert get_head(model, expected).out_features == NUM_CLASSES


@pytest.mark.parametrize("kind", HEADS)
def test_the_tap_gives_what_the_head_makes_its_logits_of(kind: str) -> None:
    build, inputs, name = HEADS[kind]
    model = randomise(build())
    with no_trace(model):
        with RepresentationTap(model, name) as tap, torch.no_grad():
            logits = call_model(model, inputs)
            representations = tap.take()
        torch.testing.assert_close(get_head(model, name)(representations), logits)
        assert representations.shape == (2, get_head(model, name).in_features)


class Squashed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(3, 4), nn.Linear(4, NUM_CLASSES)

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.tanh(self.out(self.hidden(inputs)))


class Raises(Squashed):
    def forward(self, inputs: Tensor) -> Tensor:
        super().forward(inputs)
        raise RuntimeError("on purpose")


class Returns(Squashed):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind

    def forward(self, inputs: Tensor) -> Any:
        logits = self.out(self.hidden(inputs))
        return (logits, logits) if self.kind == "tuple" else logits[:, :, None]


def test_a_network_without_a_head_is_a_clear_error() -> None:
    for model, message in (
        (Squashed(), "Squashed has no head: .* linear layers are hidden, out"),
        (nn.Sequential(nn.Conv2d(3, 4, 8), nn.Flatten()), "has no head: .* linear layers are absent"),
    ):
        inputs = torch.ones(2, 3) if isinstance(model, Squashed) else random_images(2)
        with no_trace(model), pytest.raises(ModelError, match=message):
            find_head(model, inputs, NUM_CLASSES)


def test_another_number_of_classes_is_a_clear_error() -> None:
    model = small_cnn()
    with no_trace(model), pytest.raises(ModelError, match="SmallCNN has 3 outputs, but the data have 10 classes"):
        find_head(model, random_images(2), 10)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        (Raises().train(), RuntimeError, "on purpose"),
        (Returns("tuple").train(), ModelError, r"must return logits of shape \[batch, classes\]; it returned tuple"),
        (Returns("3d").train(), ModelError, r"it returned shape \(2, 3, 1\)"),
    ],
)
def test_a_network_that_fails_is_left_as_it_was(model: nn.Module, error: type[Exception], message: str) -> None:
    with no_trace(model), pytest.raises(error, match=message):
        find_head(model, torch.ones(2, 3), NUM_CLASSES)


def test_a_head_by_an_unknown_name_is_an_error() -> None:
    with pytest.raises(ModelError, match="no linear layer 'heads'; did you mean head"):
        get_head(small_cnn(), "heads")
    with pytest.raises(ModelError, match=r"no linear layer 'encoder.0'"):
        get_head(small_cnn(), "encoder.0")


def test_the_tap_gives_each_pass_once_and_leaves_no_hook() -> None:
    model = small_cnn()
    with no_trace(model):
        with RepresentationTap(model, "head") as tap:
            with pytest.raises(ModelError, match="it received nothing"):
                tap.take()
            model(random_images(2))
            tap.take()
            with pytest.raises(ModelError, match="it received nothing"):
                tap.take()
        with pytest.raises(KeyError), RepresentationTap(model, "head"):
            raise KeyError


def test_representations_of_another_shape_are_refused() -> None:
    model = nn.Sequential(nn.Linear(3, 4))
    with RepresentationTap(model, "0") as tap:
        model(torch.ones(2, 5, 3))
        with pytest.raises(ModelError, match=r"received shape \(2, 5, 3\)"):
            tap.take()


# ------------------------------------------------------------------------------------------------------------ inputs


def test_a_mapping_is_handed_over_as_keyword_arguments() -> None:
    class TwoInputs(nn.Module):
        def forward(self, *, left: Tensor, right: Tensor) -> Tensor:
            return left - right

    inputs = to_device({"right": torch.ones(2, 3), "left": torch.full((2, 3), 5.0)}, torch.device("cpu"))
    assert torch.equal(call_model(TwoInputs(), inputs), torch.full((2, 3), 4.0))


def test_channels_last_is_for_images_only() -> None:
    images, vectors = random_images(2), torch.ones(2, 3)
    assert to_device(images, torch.device("cpu")) is images
    moved = to_device(images, torch.device("cpu"), channels_last=True)
    assert moved.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(moved, images)
    assert to_device(vectors, torch.device("cpu"), channels_last=True) is vectors
