import dataclasses
import tomllib
from pathlib import Path
from typing import Any, Literal

import pytest
import tomli_w

from prusc.config import (
    AuditConfig,
    BiasedConfig,
    ClusteringConfig,
    DataConfig,
    DebiasingSetConfig,
    ERMConfig,
    FinetuneConfig,
    MaskConfig,
    PseudoAttributeConfig,
    RunConfig,
    RuntimeConfig,
    SelectionConfig,
    StickerConfig,
    TwinsConfig,
    config_from_dict,
    config_to_dict,
)
from prusc.errors import ConfigError
from tests.config.parts import PARTS


def through_toml(config: Any) -> Any:
    return config_from_dict(type(config), tomllib.loads(tomli_w.dumps(config_to_dict(config))))


@pytest.mark.parametrize("kind", PARTS)
def test_defaults_survive_toml(kind: type) -> None:
    assert through_toml(kind()) == kind()


def test_every_setting_survives_toml() -> None:
    config = RunConfig(
        data="/data/celeba",
        layout="celeba",
        skip_bad=True,
        model="resnet18",
        weights=Path("/w/resnet.safetensors"),
        trained_key="state_dict_ema",
        features=Path("/f.npz"),
        method="jtt",
        method_options=("upweight=5",),
        tuning_budget=2.5,
        max_settings=2,
        may_keep_erm=False,
        seed=2**63 - 1,
        controls=False,
        evaluate_candidates=True,
        data_options=DataConfig(
            0.9,
            3,
            "Blond_Hair",
            ("Male", "Young"),
            64,
            (0.1,),
            (0.2,),
            "bicubic",
            0.9,
            1.5,
            ("no", "yes"),
            "file",
            "none",
            "lesion_id",
            "images",
            "words",
            64,
            "1pct",
            0.1,
            0.3,
            "lesions",
            Path("/land"),
            Path("/water"),
            StickerConfig((0.5, 0.1), (0.5,), (0.0,), 0.2, "masks"),
            48,
            Path("/mnist"),
            Path("/cifar"),
            False,
            12,
            0.05,
            0.25,
            "small",
            "low",
            0.995,
            10,
        ),
        erm=ERMConfig(3, 16, 0.5, 0.0, True, 0.25),
        clustering=ClusteringConfig(None, (3, 5), 2, Path("c.csv"), 1, 20, 10, 0.5, 0.25),
        pseudo_attribute=PseudoAttributeConfig(
            "twins",
            0.5,
            3,
            TwinsConfig(2, 7, (-4.0, -2.0), (-5.0, -1.0), (3.0, 4.0), 5.0),
            BiasedConfig(0.5, 0.25, 4, 2),
        ),
        debiasing_set=DebiasingSetConfig("val", 0.5, 3, True, 0.5),
        masks=MaskConfig(
            9, 8, 0.2, -1.0, 0.5, 0.0, 0.1, "cluster", "sum-of-logits", 0.0, 2, ("a.*",), ("b", "c"), True, False
        ),
        finetune=FinetuneConfig((), 2, (), 7, 8, 0.0),
        selection=SelectionConfig("class-accuracy", 0.01, 99),
        audit=AuditConfig(3, 9, 0.01, 50),
        runtime=RuntimeConfig("cpu", "bf16-mixed", True, 0, 9),
    )
    plain = config_to_dict(config)
    defaults = RunConfig()
    for part in dataclasses.fields(config):
        # Otherwise the test would not notice a setting that is lost.
        assert getattr(config, part.name) != getattr(defaults, part.name) or part.name in ("trained", "pretrained"), (
            part.name
        )
    assert through_toml(config) == config
    assert plain["weights"] == "/w/resnet.safetensors"
    assert plain["masks"]["exclude"] == ["b", "c"]
    trained = RunConfig(trained=Path("t.pt"))
    assert through_toml(trained) == trained


@pytest.mark.parametrize("checkpoint", ["early", 3, 0, None])
def test_the_checkpoint_is_a_word_a_number_or_nothing(checkpoint: Literal["early"] | int | None) -> None:
    """Its default is a word, so that None must be written too."""
    config = RunConfig(clustering=ClusteringConfig(checkpoint=checkpoint))
    found = through_toml(config).clustering.checkpoint
    assert found == checkpoint
    assert type(found) is type(checkpoint)


def test_absent_settings_have_their_defaults() -> None:
    assert config_from_dict(RunConfig, {}) == RunConfig()
    assert config_from_dict(RunConfig, {"masks": {"beta": 3}}) == RunConfig(masks=MaskConfig(beta=3.0))
    assert isinstance(config_from_dict(MaskConfig, {"beta": 3}).beta, float)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"maskes": {}}, "unknown setting maskes; did you mean masks"),
        ({"masks": {"step": 3}}, r"unknown setting masks\.step; did you mean steps"),
        ({"masks": 3}, "setting masks must be a table of settings, found 3"),
        ({"masks": {"steps": "many"}}, r"setting masks\.steps must be int, found 'many'"),
        ({"masks": {"steps": True}}, r"masks\.steps must be int, found True"),
        ({"masks": {"steps": 1.5}}, r"masks\.steps must be int, found 1\.5"),
        ({"masks": {"beta": True}}, r"masks\.beta must be float, found True"),
        ({"masks": {"negatives": "all"}}, r"masks\.negatives must be one of 'other-class', 'cluster', found 'all'"),
        ({"masks": {"include": "encoder"}}, r"masks\.include must be .*, found 'encoder'"),
        ({"masks": {"include": [1]}}, r"masks\.include must be str, found 1"),
        ({"weights": 3}, "setting weights must be Path, found 3"),
        ({"controls": 1}, "setting controls must be bool, found 1"),
        ({"clustering": {"num_clusters": "eight"}}, r"clustering\.num_clusters must be int, found 'eight'"),
        ({"seed": "none"}, "setting seed must be int, found 'none'"),
        ({"masks": {"steps": 0}}, r"masks\.steps must be at least 1, found 0"),
        ({"clustering": {"checkpoint": "late"}}, r"clustering\.checkpoint must be .*int.*, found 'late'"),
        ({"clustering": {"checkpoint": 1.5}}, r"clustering\.checkpoint must be .*int.*, found 1\.5"),
        ({"pseudo_attribute": {"source": "tea"}}, r"pseudo_attribute\.source must be one of 'auto', .*, found 'tea'"),
    ],
)
def test_what_is_wrong_in_a_file_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_from_dict(RunConfig, values)


@pytest.mark.parametrize("text", ["none", "None", "0.05"])
def test_texts_and_paths_may_be_called_none(text: str) -> None:
    """In a table, the column ``none`` turns splitting off, so the word stands for itself there."""
    assert config_from_dict(DataConfig, {"split_column": text}).split_column == text
    assert config_from_dict(DataConfig, {"source": text}).source == Path(text)


def test_the_setting_of_a_part_is_named_with_the_part() -> None:
    with pytest.raises(ConfigError, match=r"unknown setting data_options\.stickers\.sise; did you mean size"):
        config_from_dict(RunConfig, {"data_options": {"stickers": {"sise": 0.3}}})
    with pytest.raises(ConfigError, match=r"unknown setting recipe\.betta"):
        config_from_dict(MaskConfig, {"betta": 1}, where="recipe.")
