"""What a remedy declares, and what its result shows."""

from dataclasses import dataclass, replace

import pytest

from prusc import RunConfig
from prusc.data import Data
from prusc.errors import ConfigError
from prusc.methods import Method, MethodResult, find_method
from prusc.methods.budget import training_cost
from prusc.methods.jtt import JTTSettings
from prusc.runs.session import Session
from prusc.stages.evaluation import evaluate_groups
from tests.methods.test_all import SMALL
from tests.networks import small_cnn, striped_data


@dataclass(frozen=True)
class Idle(Method):
    """Does nothing."""

    def apply(self, session: Session) -> MethodResult:
        raise NotImplementedError


IDLE = Idle("idle", "Idle", "nobody", "none", (JTTSettings(), JTTSettings(upweight=2)), starts_from_erm=True)


def test_options_are_for_one_setting_and_checked() -> None:
    jtt = find_method("jtt")
    config = replace(SMALL, method="jtt", method_options=("upweight=7", "identification_epochs=3"))
    assert jtt.settings_to_try(config, 100) == (JTTSettings(identification_epochs=3, upweight=7),)
    for options, message in (
        (("upweight",), "^each of method_options must be NAME=VALUE, such as upweight=50; found 'upweight'$"),
        (("upwait=7",), "unknown setting jtt: upwait; did you mean upweight"),
        (("upweight=many",), "setting jtt: upweight must be int, found 'many'"),
    ):
        with pytest.raises(ConfigError, match=message):
            jtt.read_options(replace(config, method_options=options))


@pytest.mark.parametrize(("limit", "expected"), [(1, 1), (2, 2), (9, 2)])
def test_the_number_of_settings_is_limited(limit: int, expected: int) -> None:
    assert IDLE.settings_to_try(RunConfig(max_settings=limit), 100) == IDLE.settings[:expected]


@pytest.mark.parametrize(("starts_from_erm", "budget", "expected"), [(True, 2.5, 1), (False, 2.5, 2), (True, 3.0, 2)])
def test_the_erm_network_counts_if_a_remedy_starts_from_it(starts_from_erm: bool, budget: float, expected: int) -> None:
    method = replace(IDLE, starts_from_erm=starts_from_erm, cost=training_cost)
    assert method.settings_to_try(RunConfig(tuning_budget=budget), 100) == IDLE.settings[:expected]


def test_an_option_may_be_text_and_overrides_one_default_alone() -> None:
    balanced = find_method("group-balanced")
    for option in ("sampling=subsample", 'sampling="subsample"'):
        settings = balanced.read_options(RunConfig(method="group-balanced", method_options=(option,)))
        assert settings == replace(balanced.settings[0], sampling="subsample")


def test_a_remedy_is_not_charged_with_what_it_did_not_need() -> None:
    assert IDLE.shared_stages == {"clustering", "evaluation"}
    assert replace(IDLE, starts_from_erm=False).shared_stages == {"erm", "clustering", "evaluation"}


def test_a_remedy_declares_what_it_fits_weights_to() -> None:
    assert not IDLE.fits_validation(RunConfig())
    assert replace(IDLE, trains_on_validation=True).fits_validation(RunConfig())
    assert IDLE.family == "idle"


@pytest.mark.parametrize(
    ("needs", "refused"), [("none", set()), ("validation", {"val"}), ("training", {"train", "val"})]
)
def test_missing_group_labels_are_refused_where_they_are_needed(needs: str, refused: set[str]) -> None:
    method, data = replace(IDLE, group_labels=needs), striped_data()
    method.check_groups(data)
    for name in ("train", "val", "test"):
        unknown = replace(data, **{name: replace(data.splits[name], attributes=None)})
        if name not in refused:
            method.check_groups(unknown)
            continue
        with pytest.raises(
            ConfigError,
            match=rf"^method idle needs group labels of the {name} split, but 'stripes' has no attributes there; name",
        ):
            method.check_groups(unknown)


def make_result(data: Data) -> MethodResult:
    """A result whose ERM network predicts class 0 alone, and whose chosen network is right throughout."""
    labels = data.test.labels
    evaluations = {
        name: {"test": evaluate_groups(predictions, data.test, data)}
        for name, predictions in (("erm", labels * 0), ("idle", labels))
    }
    return MethodResult(IDLE, small_cnn(), small_cnn(), "upweight=2", "cells", evaluations, {"erm": 1.0})


def test_a_result_shows_itself() -> None:
    result = make_result(striped_data())
    assert result.after is result.evaluations["idle"]
    assert repr(result) == (
        "MethodResult(idle: upweight=2, worst group of the test split 0.0 -> 100.0 %, average 33.3 -> 100.0 %)"
    )
    page = result._repr_html_()
    assert "ERM network" in page
    assert "<td>Idle</td>" in page
    assert "<td>upweight=2</td>" in page
    assert "MethodResult(idle: upweight=2, worst group" in page
