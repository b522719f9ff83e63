"""The whole way, from training to the chosen network, for networks and inputs of every kind."""

from dataclasses import dataclass
from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from prusc.config import ClusteringConfig, ERMConfig, FinetuneConfig, MaskConfig, RunConfig, RuntimeConfig
from prusc.data import load_data
from prusc.data.table import Data, Split
from prusc.runs.debias import debias
from prusc.runs.result import DebiasingResult
from tests.data.folders import write_waterbirds
from tests.networks import generator

VOCABULARY, LENGTH, PADDING = 20, 10, 0


def tiny_config(**settings: object) -> RunConfig:
    """Settings of a run that does everything once."""
    parts = {
        "erm": ERMConfig(epochs=1, batch_size=8),
        "clustering": ClusteringConfig(num_clusters=2),
        "masks": MaskConfig(steps=2, snapshots=1, batch_size=8),
        "finetune": FinetuneConfig(head_l2=(0.1,), learning_rates=(1e-3,), steps=2, batch_size=8),
        "runtime": RuntimeConfig(device="cpu", num_workers=0, eval_batch_size=16),
    }
    return RunConfig(**{**parts, **settings})  # type: ignore[arg-type]


def check_result(result: DebiasingResult, kind: type[nn.Module]) -> None:
    """The networks are of the user's class, with its keys, and everything was measured."""
    assert type(result.model) is type(result.erm) is kind
    assert result.model.state_dict().keys() == result.erm.state_dict().keys()
    for splits in result.evaluations.values():
        assert 0 <= splits["test"].worst_group_accuracy <= splits["test"].average_accuracy <= 1
    masked = [candidate for candidate in result.candidates if candidate.family == "subnetwork"]
    assert masked
    assert all(0 < candidate.density < 1 for candidate in masked)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "convnext_tiny", "efficientnet_b0", "torchvision/mobilenet_v2"])
def test_networks_by_name_on_small_images(name: str, tmp_path: Path) -> None:
    data = load_data(str(write_waterbirds(tmp_path, 32)), image_size=32)
    result = debias(data=data, config=tiny_config(model=name, controls=False))
    check_result(result, type(result.erm))
    assert result.evaluations["subnetwork"]["test"].attributes[0].name == "place"


@pytest.mark.slow
def test_a_vision_transformer_built_for_small_images(tmp_path: Path) -> None:
    data = load_data(str(write_waterbirds(tmp_path, 32)), image_size=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = timm.create_model("vit_small_patch16_224", num_classes=2, img_size=32, patch_size=8)
    check_result(debias(model, data, tiny_config(controls=False)), type(model))


@pytest.mark.slow
def test_a_vision_transformer_by_name_gets_images_of_its_own_size(tmp_path: Path) -> None:
    config = tiny_config(model="vit_small_patch16_224", data=str(write_waterbirds(tmp_path, 16)), controls=False)
    result = debias(config=config)
    assert result.erm.patch_embed.img_size == (224, 224)
    check_result(result, type(result.erm))


class TextClassifier(nn.Module):
    """A transformer over token ids; padding is left out of attention and of the mean."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 16, padding_idx=PADDING)
        layer = nn.TransformerEncoderLayer(16, 2, dim_feedforward=32, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(16, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        hidden = self.encoder(self.embedding(input_ids), src_key_padding_mask=attention_mask == 0)
        weights = attention_mask[:, :, None].float()
        return self.head((hidden * weights).sum(1) / weights.sum(1))


@dataclass(frozen=True)
class Sentences(Dataset[dict[str, Tensor]]):
    """Token ids and which of them are words, as tokenisers give them."""

    tokens: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        tokens = self.tokens[index]
        return {"input_ids": tokens, "attention_mask": (tokens != PADDING).long()}


def sentence_split(num_sentences: int, seed: int) -> Split:
    """The class is the first word; another word mostly goes with it."""
    source = generator(seed)
    tokens = torch.randint(5, VOCABULARY, (num_sentences, LENGTH), generator=source)
    labels = torch.arange(num_sentences) % 2
    attributes = torch.where(torch.rand(num_sentences, generator=source) < 0.8, labels, 1 - labels)
    tokens[:, 0], tokens[:, 3] = 1 + labels, 3 + attributes
    for row, length in enumerate(torch.randint(5, LENGTH + 1, (num_sentences,), generator=source).tolist()):
        tokens[row, length:] = PADDING
    return Split(Sentences(tokens), labels, attributes[:, None], tuple(f"sentence {i}" for i in range(num_sentences)))


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_text_classifier_on_a_data_set_of_dicts(num_workers: int, tmp_path: Path) -> None:
    data = Data(
        "sentences",
        ("left", "right"),
        *(sentence_split(40, seed) for seed in range(3)),
        attribute_names=("word",),
        attribute_values=(("a", "b"),),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = TextClassifier()
    runtime = RuntimeConfig(device="cpu", num_workers=num_workers, eval_batch_size=16)
    result = debias(model, data, tiny_config(runtime=runtime), out=tmp_path / "run")
    check_result(result, TextClassifier)
    assert (tmp_path / "run" / "metrics.json").exists()
