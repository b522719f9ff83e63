"""Which network is clustered, and what a run starts from."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from prusc import RunConfig
from prusc.config import ClusteringConfig, ERMConfig, RuntimeConfig
from prusc.data import load_fashion_stickers
from prusc.errors import PruscError
from prusc.models.build import SmallCNN
from prusc.runs.session import open_session
from prusc.runs.start import Start, start_run

FROM_WEIGHTS = RunConfig(
    erm=ERMConfig(epochs=1), clustering=ClusteringConfig(checkpoint=0), runtime=RuntimeConfig(device="cpu")
)


def begin(config: RunConfig, out: Path) -> Start:
    data = load_fashion_stickers(num_train_per_class=100, num_val_per_class=50, num_test_per_class=8)
    return start_run(open_session(None, data, config, out=out, force=False, progress=None))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(3)
    path = tmp_path / "weights.safetensors"
    save_file(SmallCNN(4).state_dict(), path)
    return path


def test_checkpoint_0_is_the_network_that_training_starts_from(tmp_path: Path, weights: Path) -> None:
    config = replace(FROM_WEIGHTS, weights=weights)
    first = begin(config, tmp_path / "first")
    kept = load_file(tmp_path / "first" / "checkpoints" / "epoch-000.safetensors")
    given = load_file(weights)
    assert all(torch.equal(kept[key], value) for key, value in given.items() if not key.startswith("head"))
    assert all(torch.equal(kept[key], value) for key, value in first.clustered.state_dict().items())
    assert not all(torch.equal(kept[key], value) for key, value in first.erm.state_dict().items())
    # It is read again where the run is resumed.
    (tmp_path / "first" / "stages" / "clustering.safetensors").unlink()
    assert torch.equal(
        begin(config, tmp_path / "first").attribute.splits["train"].ids, first.attribute.splits["train"].ids
    )
    clusters = first.attribute.splits["train"].ids
    # A network that was trained elsewhere started from the same weights.
    trained = replace(config, trained=tmp_path / "first" / "erm.safetensors")
    second = begin(trained, tmp_path / "second")
    assert torch.equal(second.attribute.splits["train"].ids, clusters)
    log = (tmp_path / "second" / "log.txt").read_text()
    assert "from the representations of your architecture after 0 epochs" in log
    assert "early network: your architecture, untrained, because a fully trained network hides the evidence" in log


def test_weights_that_an_early_network_cannot_start_from_are_refused_at_once(tmp_path: Path, weights: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"somewhere.weight": torch.zeros(2)}, other)
    with pytest.raises(PruscError, match=r"other\.safetensors"):
        begin(replace(FROM_WEIGHTS, trained=weights, weights=other), tmp_path / "run")
    assert not (tmp_path / "run").exists()
