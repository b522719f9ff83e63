"""PruSC behind the contract of a remedy."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from prusc import DebiasingResult, debias
from prusc.config import DebiasingSetConfig, FinetuneConfig, RunConfig, SelectionConfig
from prusc.errors import ConfigError
from prusc.methods import apply_method, find_method, run_method
from prusc.methods.prusc import PRUSC
from tests.networks import striped_data
from tests.run_folders import TINY


def test_it_is_one_of_them() -> None:
    with pytest.raises(ConfigError, match="'jtt' is not PruSC"):
        debias(data=striped_data(), config=replace(TINY, method="jtt"))
    assert find_method("prusc") is PRUSC


def test_its_result_is_that_of_debias(shared_striped_run: Path) -> None:
    result = apply_method(data=striped_data(90), config=TINY)
    assert result.method is PRUSC
    assert isinstance(result.debiasing, DebiasingResult)
    assert result.model is result.debiasing.model
    assert result.erm is result.debiasing.erm
    assert (result.chosen, result.judged_by) == (result.debiasing.chosen["subnetwork"], result.debiasing.judged_by)
    assert result.after is result.evaluations["subnetwork"]
    for name, value in load_file(shared_striped_run / "model.safetensors").items():
        assert torch.equal(result.model.state_dict()[name], value), name


def test_what_it_declares() -> None:
    assert PRUSC.family == "subnetwork"
    # Its clusters are its own: the others have them for the judges alone.
    assert PRUSC.shared_stages == {"evaluation"}
    assert PRUSC.settings_to_try(RunConfig(max_settings=9), 100) == PRUSC.settings
    assert PRUSC.fits_validation(RunConfig())
    without = RunConfig(finetune=FinetuneConfig(head_folds=0))
    assert not PRUSC.fits_validation(without)
    assert PRUSC.fits_validation(replace(without, debiasing_set=DebiasingSetConfig(split="val")))


def test_options_of_the_other_remedies_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = replace(TINY, method_options=("upweight=7",))
    with pytest.raises(ConfigError, match=r"^method_options are for the other methods, found \('upweight=7',\);"):
        run_method(data=striped_data(), config=config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_group_labels_that_choose_are_declared(tmp_path: Path) -> None:
    data, config = striped_data(), replace(TINY, selection=SelectionConfig(rule="validation-groups"))
    result = debias(data=data, config=config, out=tmp_path / "run")
    assert result.judged_by == "groups"
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["group_labels_used_for"] == ["selection", "evaluation"]
    unknown = replace(data, val=replace(data.val, attributes=None))
    with pytest.raises(ConfigError, match="validation-groups needs group labels"):
        debias(data=unknown, config=config)
