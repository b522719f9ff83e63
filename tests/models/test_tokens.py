"""Networks and tokenizers from a folder of transformers, and a run on text with them."""

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch

import prusc
from prusc.config import ClusteringConfig, DataConfig
from prusc.errors import PruscError
from prusc.models.build import build_model, check_model_name
from prusc.models.calls import call_model
from prusc.models.head import find_head
from prusc.models.tokens import load_tokenizer
from tests.networks import generator
from tests.run_folders import TINY

transformers = pytest.importorskip("transformers")
WORDS = ("good", "bad", "film", "very", "not")


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    folder = tmp_path_factory.mktemp("bert")
    vocabulary = {word: index for index, word in enumerate(("[PAD]", "[UNK]", *WORDS))}
    words = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    wrapped = transformers.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")
    wrapped.save_pretrained(folder)
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.BertConfig(vocab_size=len(vocabulary), max_position_embeddings=16, **size)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def test_a_network_of_text_is_built_and_called(text_folder: Path) -> None:
    name = f"local-dir:{text_folder}"
    check_model_name(name)
    model = build_model(name, 3, generator=generator()).eval()
    again = build_model(name, 3, generator=generator())
    assert all(torch.equal(value, again.state_dict()[key]) for key, value in model.state_dict().items())
    encoded = load_tokenizer(name, 4)(["good film", "not very good bad film film"])
    assert encoded["input_ids"].shape == (2, 4)
    assert encoded["input_ids"][0].tolist() == [2, 4, 0, 0]
    inputs = {key: encoded[key] for key in ("input_ids", "attention_mask")}
    assert torch.equal(call_model(model, inputs), model(**inputs).logits)
    assert find_head(model, inputs, 3) == "classifier"


def test_a_network_of_images_is_built(tmp_path: Path) -> None:
    size = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    transformers.ViTConfig(image_size=16, patch_size=8, **size).save_pretrained(tmp_path)
    model = build_model(f"local-dir:{tmp_path}", 4, generator=generator()).eval()
    assert call_model(model, torch.zeros(2, 3, 16, 16)).shape == (2, 4)
    assert find_head(model, torch.randn(2, 3, 16, 16), 4) == "classifier"


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(PruscError, match=r"config\.json cannot be read .* expected a folder"):
        check_model_name(f"local-dir:{tmp_path}")
    (tmp_path / "config.json").write_text('{"model_type": "nothing"}')
    with pytest.raises(PruscError, match="cannot be built from its config"):
        build_model(f"local-dir:{tmp_path}", 2, generator=generator())
    with pytest.raises(PruscError, match="the tokenizer cannot be read"):
        load_tokenizer(f"local-dir:{tmp_path}", 8)
    with pytest.raises(PruscError, match="text needs a network with a tokenizer, and model is 'small-cnn'"):
        load_tokenizer("small-cnn", 8)


def test_a_trained_network_of_text_goes_through_a_run(text_folder: Path, tmp_path: Path) -> None:
    rows = [
        {"text": f"{'good' if label else 'bad'} film {'very ' * (index % 3)}", "label": label, "short": index % 3 == 0}
        for index in range(60)
        for label in (0, 1)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "reviews.csv", index=False)
    config = replace(
        TINY,
        data=str(tmp_path / "reviews.csv"),
        model=f"local-dir:{text_folder}",
        trained=text_folder,
        data_options=DataConfig(text_column="text", attributes=("short",), num_tokens=8),
        clustering=ClusteringConfig(num_clusters=2, checkpoint=None),
    )
    with pytest.warns(UserWarning, match="no validation split"):
        result = prusc.debias(config=config, out=tmp_path / "run")
    assert type(result.model).__name__ == "BertForSequenceClassification"
    page = (tmp_path / "run" / "report.html").read_text()
    assert "the inputs of this data set are not images" in page
    assert "row " in (tmp_path / "run" / "samples" / "samples.csv").read_text()
    with pytest.raises(PruscError, match="do not exist; expected a table with the column 'text'"):
        prusc.audit(config=replace(config, data="nowhere.csv"))
    with pytest.raises(PruscError, match="does not take image_size"):
        prusc.audit(config=replace(config, data_options=replace(config.data_options, image_size=32)))
