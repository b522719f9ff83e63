import dataclasses
import inspect
import re
from pathlib import Path
from typing import Any

import pytest

from prusc.config import (
    ClusteringConfig,
    DataConfig,
    DebiasingSetConfig,
    ERMConfig,
    FinetuneConfig,
    MaskConfig,
    RunConfig,
    RuntimeConfig,
    SelectionConfig,
    StickerConfig,
)
from prusc.errors import ConfigError, PruscError
from tests.config.parts import PARTS

OUT_OF_RANGE: list[tuple[type, dict[str, Any]]] = [
    (RuntimeConfig, {"num_workers": -1}),
    (RuntimeConfig, {"eval_batch_size": 0}),
    (RunConfig, {"seed": -1}),
    (RunConfig, {"seed": 2**63}),
    (RunConfig, {"weights": Path("a"), "pretrained": True}),
    (RunConfig, {"clustering": ClusteringConfig(checkpoint=-1)}),
    (RunConfig, {"erm": ERMConfig(epochs=8), "clustering": ClusteringConfig(checkpoint=9)}),
]


@pytest.mark.parametrize(("kind", "settings"), OUT_OF_RANGE)
def test_settings_out_of_range_are_refused_by_name(kind: type, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"must be .*, found") as caught:
        kind(**settings)
    # The last setting of each is the wrong one.
    name = list(settings)[-1]
    named = {"clustering": "clustering.checkpoint"}
    assert named.get(name, name) in str(caught.value)


def test_a_config_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        MaskConfig().steps = 3  # type: ignore[misc]


def test_one_except_catches_every_error() -> None:
    with pytest.raises(PruscError):
        MaskConfig(steps=0)
    with pytest.raises(ValueError, match="must be"):
        MaskConfig(steps=0)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (RunConfig(), True),
        (RunConfig(finetune=FinetuneConfig(head_folds=0)), False),
        (RunConfig(debiasing_set=DebiasingSetConfig(split="val")), True),
        (RunConfig(debiasing_set=DebiasingSetConfig(split="val"), finetune=FinetuneConfig(head_folds=0)), True),
        (RunConfig(finetune=FinetuneConfig(head_folds=0), selection=SelectionConfig("validation-groups")), False),
    ],
)
def test_training_on_validation_is_known(config: RunConfig, expected: bool) -> None:
    assert config.trains_on_validation is expected


def test_the_checkpoint_lies_within_the_training() -> None:
    for epoch in (None, "early", 0, 3):
        assert RunConfig(erm=ERMConfig(epochs=3), clustering=ClusteringConfig(checkpoint=epoch))
    with pytest.raises(ConfigError, match=r"clustering\.checkpoint must be in 0\.\.erm\.epochs \(3\), found 4"):
        RunConfig(erm=ERMConfig(epochs=3), clustering=ClusteringConfig(checkpoint=4))


@pytest.mark.parametrize(
    ("config", "epoch"),
    [
        (RunConfig(), 1),
        (RunConfig(pretrained=True), 0),
        (RunConfig(weights=Path("a")), 0),
        # How a given network was trained is known by what training starts from.
        (RunConfig(trained=Path("t")), 1),
        (RunConfig(trained=Path("t"), pretrained=True), 0),
        (RunConfig(pretrained=True, clustering=ClusteringConfig(checkpoint=3)), 3),
        (RunConfig(clustering=ClusteringConfig(checkpoint=0)), 0),
        (RunConfig(pretrained=True, clustering=ClusteringConfig(checkpoint=None)), None),
    ],
)
def test_early_is_before_training_with_published_weights_and_after_an_epoch_without(
    config: RunConfig, epoch: int | None
) -> None:
    assert config.early_epoch == epoch


def test_heads_are_fitted_on_validation_unless_half_of_it_makes_the_debiasing_set() -> None:
    finetune = FinetuneConfig(head_folds=3)
    assert RunConfig().head_folds == FinetuneConfig().head_folds == 5
    assert RunConfig(finetune=finetune).head_folds == 3
    assert RunConfig(finetune=FinetuneConfig(head_folds=0)).head_folds == 0
    assert RunConfig(finetune=finetune, debiasing_set=DebiasingSetConfig(split="val")).head_folds == 0


def described(kind: type) -> dict[str, str]:
    """The text of each attribute in a docstring, by name."""
    text = inspect.cleandoc(kind.__doc__ or "").partition("Attributes:\n")[2]
    entries = re.split(r"^ {4}(\w+): ", text, flags=re.MULTILINE)[1:]
    return dict(zip(entries[::2], entries[1::2], strict=True))


@pytest.mark.parametrize("kind", PARTS)
def test_every_setting_has_its_help(kind: type) -> None:
    """The command line prints these texts for ``--help``."""
    texts = described(kind)
    assert list(texts) == [item.name for item in dataclasses.fields(kind)]
    for name, text in texts.items():
        # The help starts a new paragraph at a line that does not begin with a letter.
        assert all(line.lstrip()[0].isalpha() for line in text.rstrip().splitlines()[1:]), name
        assert re.search(r"[.]$", text.rstrip()), name


@pytest.mark.parametrize("kind", [DataConfig, StickerConfig, DebiasingSetConfig])
def test_what_happens_without_a_value_is_said(kind: type) -> None:
    told = re.compile(r"If not given|It is required|Tables: column such as|: folder of|download|replaces magnitude")
    untold = [
        item.name
        for item in dataclasses.fields(kind)
        if item.default is None and not told.search(" ".join(described(kind)[item.name].split()))
    ]
    assert untold == []
