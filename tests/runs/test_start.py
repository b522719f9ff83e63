"""Which network is clustered, and what a run starts from."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from prusc import RunConfig
from prusc.config import ClusteringConfig, ERMConfig, PseudoAttributeConfig, RuntimeConfig, TwinsConfig
from prusc.data import InputTransform, load_fashion_stickers
from prusc.errors import PruscError, RunFolderError
from prusc.models.build import SmallCNN
from prusc.runs.session import open_session
from prusc.runs.start import Start, start_run
from prusc.stages.cells import make_cells
from prusc.stages.evidence import measure_evidence
from prusc.stages.representations import predict
from tests.networks import Listener, feed_of, generator, randomise, striped_data
from tests.run_folders import TINY

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


def test_a_run_of_another_network_is_not_resumed(tmp_path: Path) -> None:
    data = striped_data(30)
    config = replace(TINY, clustering=ClusteringConfig(num_clusters=2, checkpoint=None))
    first, second = (randomise(SmallCNN(3), seed) for seed in (0, 1))
    begun = start_run(open_session(first, data, config, out=tmp_path / "run", force=False, progress=None))
    again = start_run(open_session(first, data, config, out=tmp_path / "run", force=False, progress=None))
    assert torch.equal(begun.attribute.splits["val"].ids, again.attribute.splits["val"].ids)
    with pytest.raises(RunFolderError, match=r"run folder .*run holds a run of another network; name another folder"):
        start_run(open_session(second, data, config, out=tmp_path / "run", force=False, progress=None))


def test_a_network_that_cannot_be_initialised_again_is_clustered_itself(tmp_path: Path) -> None:
    model, progress = OwnWeights(), Listener()
    start = start_run(open_session(model, striped_data(30), TINY, out=None, force=False, progress=progress))
    assert start.clustered is start.erm
    early, found = (next(line for line in progress.lines if line.startswith(name)) for name in ("early", "pseudo"))
    assert early == (
        "early network: none, because most weights of the given network have no reset_parameters that initialises "
        "them; clustering the ERM network instead"
    )
    source = start.attribute.source
    assert found.startswith(f"pseudo-attribute: 3 values {source}, from the representations of the ERM network, with ")


def test_all_sources_are_compared_and_the_one_with_the_clearest_evidence_is_used() -> None:
    data, progress = striped_data(60), Listener()
    start = start_run(open_session(None, data, TINY, out=None, force=False, progress=progress))
    first, second = start.attribute.evidence
    assert start.attribute.source == first.source
    assert {first.source, second.source} == {"linear", "clusters"}
    assert first.statistic >= second.statistic
    # The mistakes are those of the trained network, wherever the pseudo-attribute comes from.
    predictions = predict(start.erm, feed_of(data.val, InputTransform(data.mean, data.std))).argmax(dim=1)
    assert measure_evidence(first.source, predictions, make_cells(start.attribute, data, "val")) == first
    told = [line for line in progress.lines if line.startswith("source ")]
    assert len(told) == 2
    assert [line.partition(":")[0] for line in told if line.endswith("; used")] == [f"source {first.source}"]


@pytest.mark.parametrize("source", ["linear", "clusters", "twins", "biased"])
def test_a_named_source_is_compared_with_no_other(source: Literal["linear", "clusters", "twins", "biased"]) -> None:
    pseudo_attribute = PseudoAttributeConfig(source=source, twins=TwinsConfig(draws=2, steps=20))
    config, progress = replace(TINY, pseudo_attribute=pseudo_attribute), Listener()
    start = start_run(open_session(None, striped_data(30), config, out=None, force=False, progress=progress))
    assert start.attribute.source == source
    assert [one.source for one in start.attribute.evidence] == [source]
    [line] = [line for line in progress.lines if line.startswith("source ")]
    assert "used" not in line


class OwnWeights(nn.Module):
    """Most of its weights are parameters of its own, which no reset_parameters draws."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3 * 8 * 8, 8, generator=generator()) / 14)
        self.head = nn.Linear(8, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(torch.relu(images.flatten(1) @ self.weight))


def test_weights_that_an_early_network_cannot_start_from_are_refused_at_once(tmp_path: Path, weights: Path) -> None:
    other = tmp_path / "other.safetensors"
    save_file({"somewhere.weight": torch.zeros(2)}, other)
    with pytest.raises(PruscError, match=r"other\.safetensors"):
        begin(replace(FROM_WEIGHTS, trained=weights, weights=other), tmp_path / "run")
    assert not (tmp_path / "run").exists()
