"""What the settings name is checked before any long work, and loaded."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from prusc import RunConfig
from prusc.config import ClusteringConfig, DataConfig
from prusc.data import Data
from prusc.engine.runtime import stage_generator
from prusc.errors import ConfigError, DataError, ModelError, RunFolderError
from prusc.models.build import SmallCNN, build_model
from prusc.runs import inputs
from prusc.runs.inputs import build_run_model, build_untrained, load_run_data, prepare_model, read_run_weights
from tests.networks import Listener, striped_data


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    path = tmp_path / "weights.safetensors"
    save_file(SmallCNN(3).state_dict(), path)
    return path


def serve(monkeypatch: pytest.MonkeyPatch, data: Data) -> dict[str, object]:
    """Let ``load_data`` return these data, and record what it is asked for."""
    asked: dict[str, object] = {}

    def load(name: str, **options: object) -> Data:
        asked.update(options, name=name)
        return data

    monkeypatch.setattr(inputs, "load_data", load)
    return asked


# ----------------------------------------------------------------------------------------------------------- weights


def test_names_are_checked_and_weights_are_read(tmp_path: Path, weights: Path) -> None:
    assert read_run_weights(RunConfig()) is None
    expected = SmallCNN(3).state_dict().keys()
    for config in (RunConfig(trained=weights), RunConfig(weights=weights)):
        found = read_run_weights(config)
        assert found is not None
        assert found.tensors.keys() == expected
    with pytest.raises(ConfigError, match=r"unknown model 'small-cn'; did you mean small-cnn"):
        read_run_weights(RunConfig(model="small-cn"))
    with pytest.raises(RunFolderError, match=r"cluster file .*none\.csv does not exist or is not a file"):
        read_run_weights(RunConfig(clustering=ClusteringConfig(from_csv=tmp_path / "none.csv")))
    with pytest.raises(RunFolderError, match=r"cluster file .* does not exist or is not a file"):
        read_run_weights(RunConfig(clustering=ClusteringConfig(from_csv=tmp_path)))


def test_a_network_is_built_by_the_seed_and_gets_the_weights(tmp_path: Path, weights: Path) -> None:
    data = striped_data(12)
    first, again, other = (build_run_model(RunConfig(seed=seed), data, None) for seed in (0, 0, 1))
    expected = build_model("small-cnn", 3, generator=stage_generator(0, "model"))
    for key, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])
        assert torch.equal(value, expected.state_dict()[key])
    assert not torch.equal(first.head.weight, other.head.weight)  # type: ignore[union-attr, arg-type]
    config = RunConfig(trained=weights)
    stored = read_run_weights(config)
    trained = build_run_model(config, data, stored).state_dict()
    assert stored is not None
    assert all(torch.equal(value, trained[key]) for key, value in stored.tensors.items())
    # Weights to begin with may be of a network for other classes: the head is then new. A trained network may not.
    save_file(SmallCNN(5).state_dict(), tmp_path / "five.safetensors")
    config = RunConfig(weights=tmp_path / "five.safetensors")
    five = read_run_weights(config)
    assert five is not None
    begun = build_run_model(config, data, five).state_dict()
    assert torch.equal(begun["encoder.0.weight"], five.tensors["encoder.0.weight"])
    assert torch.equal(begun["head.weight"], first.state_dict()["head.weight"])
    with pytest.raises(
        ModelError, match=r"weight file .*five\.safetensors.*head\.weight \[5, 128\] instead of \[3, 128\]"
    ):
        build_run_model(RunConfig(trained=tmp_path / "five.safetensors"), data, five)


def test_a_trained_network_is_made_untrained_as_its_training_began(weights: Path) -> None:
    data = striped_data(12)
    found = build_untrained(RunConfig(trained=weights), data).state_dict()
    expected = build_run_model(RunConfig(), data, None).state_dict()
    assert all(torch.equal(value, found[key]) for key, value in expected.items())
    found = build_untrained(RunConfig(trained=weights, weights=weights), data).state_dict()
    stored = read_run_weights(RunConfig(weights=weights))
    assert stored is not None
    assert torch.equal(found["encoder.0.weight"], stored.tensors["encoder.0.weight"])


def test_images_that_the_network_does_not_take_are_named() -> None:
    with pytest.raises(
        ModelError, match=r"model 'vit_tiny_patch16_224' does not take the images of 'stripes': .*(224)"
    ):
        build_run_model(RunConfig(model="vit_tiny_patch16_224"), striped_data(12), None)


# -------------------------------------------------------------------------------------------------------------- data


def test_data_are_asked_for_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    data, progress = striped_data(20), Listener()
    asked = serve(monkeypatch, data)
    options = DataConfig(memory_limit_gib=0.5, val_share=0.3)
    config = RunConfig(data="folder", layout="image-folder", skip_bad=True, seed=7, data_options=options)
    found = load_run_data(config, progress)
    assert (found.mean, found.std) == (data.mean, data.std), "a network of ours has no normalisation of its own"
    assert asked["name"] == "folder"
    assert asked["layout"] == "image-folder"
    assert (asked["skip_bad"], asked["default_seed"]) == (True, 7)
    assert asked["memory_limit_bytes"] == 2**29
    assert asked["val_share"] == 0.3
    asked["progress"](3, 10)  # type: ignore[operator]
    asked["log"]("a line")  # type: ignore[operator]
    assert (progress.steps, progress.lines) == ([("reading images", 3, 10)], ["a line"])


def test_a_published_network_brings_its_normalisation_and_size(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = serve(monkeypatch, striped_data(20))
    found = load_run_data(RunConfig(model="resnet18"), Listener())
    # ImageNet's.
    assert found.mean == pytest.approx((0.485, 0.456, 0.406))
    assert found.std == pytest.approx((0.229, 0.224, 0.225))
    assert found.train.transform is not None
    assert found.train.transform.mean == found.mean
    assert asked["default_image_size"] == 224


def test_a_normalisation_that_is_given_counts_and_what_timm_would_do_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    serve(monkeypatch, striped_data(12))
    progress = Listener()
    options = DataConfig(mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))
    data = load_run_data(RunConfig(model="resnet18", data_options=options), progress)
    assert (data.mean, data.std) == (options.mean, options.std)
    assert len(progress.lines) == 1
    assert "--data-options.crop-pct" in progress.lines[0]
    progress = Listener()
    load_run_data(RunConfig(model="resnet18", data_options=DataConfig(crop_pct=0.9)), progress)
    assert progress.lines == []


def test_a_folder_of_transformers_says_how_its_images_are_prepared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked = serve(monkeypatch, striped_data(12))
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    content = {"image_mean": [0.5] * 3, "image_std": [0.1] * 3, "size": 32, "resample": 3, "crop_pct": 0.8}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(content))
    data = load_run_data(RunConfig(model=f"local-dir:{tmp_path}"), Listener())
    assert data.std == (0.1,) * 3
    assert asked["default_image_size"] == 32
    assert (asked["interpolation"], asked["crop_pct"]) == ("bicubic", 0.8)
    given = DataConfig(crop_pct=1.0)
    load_run_data(RunConfig(model=f"local-dir:{tmp_path}", data_options=given), Listener())
    assert (asked["interpolation"], asked["crop_pct"]) == ("bicubic", 1.0)


def test_clusters_that_cannot_be_are_refused_before_the_training(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    serve(monkeypatch, striped_data(20))
    config = RunConfig(clustering=ClusteringConfig(num_clusters=20))
    load_run_data(config, Listener())
    expected = (
        r"data 'stripes' have 20 training samples, fewer than the 21 clusters asked for; lower clustering\.num_clu"
    )
    for clustering in (ClusteringConfig(num_clusters=21), ClusteringConfig(candidates=(22, 21))):
        with pytest.raises(DataError, match=expected):
            load_run_data(replace(config, clustering=clustering), Listener())
    file = tmp_path / "clusters.csv"
    file.write_text("index,label,cluster_assign\n0,0,0\n")
    with pytest.raises(DataError, match=r"must name each of the 20 training samples once"):
        load_run_data(replace(config, clustering=ClusteringConfig(from_csv=file)), Listener())
    file.write_text("index,label,cluster_assign\n" + "".join(f"{i},{i % 3},{i % 2}\n" for i in range(20)))
    load_run_data(replace(config, clustering=ClusteringConfig(from_csv=file, num_clusters=21)), Listener())


# ------------------------------------------------------------------------------------------- what run folders hold


def test_the_key_is_that_of_the_trained_network_alone(tmp_path: Path, weights: Path) -> None:
    torch.save({"net": SmallCNN(3).state_dict(), "mean_teacher": SmallCNN(3).state_dict()}, tmp_path / "w.pt")
    config = RunConfig(trained=tmp_path / "w.pt", trained_key="mean_teacher", weights=weights)
    said: list[str] = []
    stored = read_run_weights(config)
    build_run_model(config, striped_data(12), stored, log=said.append)
    assert said == []
    build_untrained(config, striped_data(12))
    build_run_model(config, striped_data(12), read_run_weights(replace(config, trained_key=None)), log=said.append)
    assert said == ["weights: net of w.pt, which also holds mean_teacher; --trained-key names another"]


@pytest.mark.parametrize("change", ["parametrised", "one logit", "own prefix"])
def test_what_a_run_writes_can_be_read_back_into_the_users_network(
    change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run folder holds the prepared network; the user's function builds it as it was before."""
    data = striped_data(12)
    if change == "one logit":
        parts = {name: replace(split, labels=split.labels % 2) for name, split in data.splits.items()}
        data = replace(data, class_names=("a", "b"), **parts)
    (tmp_path / f"nets_{change[:3]}.py").write_text(
        """
from torch import nn
class Own(nn.Module):
    def __init__(self, outputs):
        super().__init__()
        self.module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Linear(4, outputs)
    def forward(self, images):
        return self.head(self.module(images))
def parametrised(number):
    network = Own(number)
    nn.utils.parametrizations.weight_norm(network.module[0])
    return network
def one_logit(number):
    return Own(1)
def own_prefix(number):
    return Own(number)
"""
    )
    monkeypatch.chdir(tmp_path)
    config = RunConfig(model=f"nets_{change[:3]}:{change.replace(' ', '_')}")
    network = build_run_model(config, data, None)
    save_file(network.state_dict(), tmp_path / "erm.safetensors")
    config = replace(config, trained=tmp_path / "erm.safetensors", seed=5)
    again = build_run_model(config, data, read_run_weights(config))
    images = torch.rand(4, 3, 8, 8)
    assert torch.equal(network.eval()(images), again.eval()(images))


@pytest.mark.parametrize("model", ["resnet50", len, SmallCNN, {"weight": torch.zeros(2)}])
def test_what_is_no_network_is_named_by_its_type(model: object) -> None:
    with pytest.raises(ModelError, match=rf"the network is of type {type(model).__name__}; expected a torch.nn.Module"):
        prepare_model(model, striped_data(), RunConfig())
