"""The contract that every registered remedy keeps."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from prusc import RunConfig
from prusc.config import ClusteringConfig, ERMConfig, FinetuneConfig, MaskConfig, RuntimeConfig, read_config
from prusc.data import Data, load_fashion_stickers
from prusc.data.table import Split
from prusc.errors import ConfigError
from prusc.methods import METHODS, Method, MethodResult, TrainedMethod, apply_method
from prusc.methods.settings import describe_settings

SMALL = RunConfig(
    erm=ERMConfig(epochs=1, batch_size=32),
    clustering=ClusteringConfig(num_clusters=4, candidates=(2, 4)),
    masks=MaskConfig(steps=4, batch_size=32),
    finetune=FinetuneConfig(steps=3, batch_size=32, head_l2=(0.1,)),
    runtime=RuntimeConfig(device="cpu"),
    max_settings=1,
)
# Those that train a network for each of their settings: all but PruSC.
OTHERS = [method for method in METHODS.values() if isinstance(method, TrainedMethod)]


@pytest.fixture(scope="module")
def data() -> Data:
    return load_fashion_stickers(num_train_per_class=30, num_val_per_class=20, num_test_per_class=12)


# Fewer fits and steps than by default; their kinds are the same.
FEWER = {
    "dcwp": ("mask_steps=4",),
    "mrm": ("mask_steps=4",),
    "irm-full-batch": ("num_steps=3", "annealing_steps=1", "num_clusters=3"),
    "dpe": ("num_members=2", "epochs=2"),
    "xrm": ("twin_steps=40",),
    "dfr": ("num_retrains=2", "inverse_strengths=[1.0, 0.1]"),
}


def run(method: Method, data: Data, out: Path | None = None) -> MethodResult:
    options = FEWER.get(method.name, ())
    return apply_method(data=data, config=replace(SMALL, method=method.name, method_options=options), out=out)


def hidden(split: Split) -> Split:
    """The split with other, random attributes."""
    assert split.attributes is not None
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(5))
    return replace(split, attributes=split.attributes[order])


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_it_trains_and_reads_no_attribute_that_it_did_not_declare(method: Method, data: Data, tmp_path: Path) -> None:
    before = torch.get_rng_state()
    result = run(method, data, tmp_path / "run")
    assert torch.equal(torch.get_rng_state(), before)
    folder = tmp_path / "run"
    metrics = json.loads((folder / "metrics.json").read_text())
    # A folder that does not name its remedy is one of PruSC.
    assert metrics.get("method", "prusc") == method.name
    assert metrics.get("handed_back", "subnetwork") == method.family
    assert metrics["results"][method.family]["test"]["num_samples"] == len(data.test)
    assert result.method is method
    assert result.after is result.evaluations[method.family]
    assert method.shared_stages <= {"erm", "clustering", "evaluation"}
    assert method.shared_stages <= result.seconds.keys()
    assert read_config(folder / "config.toml").method == method.name
    assert load_file(folder / "model.safetensors").keys() == result.model.state_dict().keys()
    assert not (folder / "stages").exists()
    # The same seed gives the same network, in a run without a folder and with group labels that it must not see.
    undeclared = {
        "none": ("train", "val", "test"),
        "validation": ("train", "test"),
        "training": ("test",),
    }[method.group_labels]
    again = run(method, replace(data, **{name: hidden(data.splits[name]) for name in undeclared}))
    for key, value in result.model.state_dict().items():
        assert torch.equal(value, again.model.state_dict()[key]), key


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_its_settings_have_defaults_and_names_of_their_own(method: Method) -> None:
    assert method.settings[0] == type(method.settings[0])()
    names = [describe_settings(settings) for settings in method.settings]
    assert len(set(names)) == len(names)
    assert method.paper
    assert method.title
    config = replace(SMALL, tuning_budget=1e9, max_settings=2)
    assert method.settings_to_try(config, 100) == method.settings[:2]


NUMBERS = [
    (method, name)
    for method in OTHERS
    for name, value in vars(method.settings[0]).items()
    if isinstance(value, int | float)
]


@pytest.mark.parametrize(("method", "name"), NUMBERS, ids=lambda one: one if isinstance(one, str) else one.name)
def test_no_number_among_its_settings_goes_unchecked(method: Method, name: str) -> None:
    of_any_size = [math.nan, math.inf] if isinstance(getattr(method.settings[0], name), float) else []
    for value in of_any_size + [-2] * (name != "initial_logit"):
        with pytest.raises(ConfigError, match=rf"{name} must be .*, found {value}"):
            replace(method.settings[0], **{name: value})


@pytest.mark.parametrize(
    "method", [method for method in METHODS.values() if method.group_labels != "none"], ids=lambda method: method.name
)
def test_without_group_labels_it_says_so_before_anything_is_written(method: Method, data: Data, tmp_path: Path) -> None:
    unknown = replace(data, val=replace(data.val, attributes=None))
    with pytest.raises(ConfigError, match=rf"method {method.name} needs group labels of the val split"):
        run(method, unknown, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_weights_fitted_to_validation_samples_are_declared(method: Method) -> None:
    plain = replace(SMALL, finetune=replace(SMALL.finetune, head_folds=0))
    assert method.fits_validation(plain) == method.trains_on_validation
    # Only PruSC's own settings can make it learn from validation samples.
    held_out = replace(SMALL, finetune=replace(SMALL.finetune, head_folds=2))
    assert method.fits_validation(held_out) == (method.name == "prusc" or method.trains_on_validation)


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_the_docs_say_what_it_needs(method: Method) -> None:
    cells = (
        f"`{method.name}`",
        method.paper,
        method.group_labels,
        "yes" if method.starts_from_erm else "no",
        "validation" if method.fits_validation(RunConfig()) else "train",
    )
    page = (Path(__file__).parents[2] / "docs" / "reference" / "remedies.md").read_text("utf-8")
    assert f"| {' | '.join(cells)} |" in page
