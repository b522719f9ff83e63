"""A remedy applied from Python, with and without its report."""

import inspect
from dataclasses import replace
from pathlib import Path

import pytest

from prusc.errors import ConfigError
from prusc.methods import METHODS, apply_method, run_method
from tests.networks import striped_data
from tests.run_folders import TINY

ERM = replace(TINY, method="erm")


def test_only_run_method_writes_the_report(tmp_path: Path) -> None:
    applied, ran = (
        task(data=striped_data(), config=ERM, out=tmp_path / task.__name__ / str(number))
        for number, task in enumerate((apply_method, run_method))
    )
    folders = [tmp_path / task.__name__ / str(number) for number, task in enumerate((apply_method, run_method))]
    assert [(folder / "metrics.json").is_file() for folder in folders] == [True, True]
    assert [(folder / "report.html").is_file() for folder in folders] == [False, True]
    assert applied.after["test"] == ran.after["test"]


def test_both_take_the_same_arguments() -> None:
    assert inspect.signature(run_method) == inspect.signature(apply_method)


def test_what_does_not_fit_is_an_error_before_anything_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prusc.methods.run.open_session", lambda *_, **__: pytest.fail("data and folder were opened"))
    for config, message in (
        (replace(TINY, method="jt"), f"unknown method 'jt'.*the methods are {', '.join(METHODS)}"),
        (replace(TINY, method="jtt", method_options=("upwait=7",)), "unknown setting jtt: upwait"),
    ):
        with pytest.raises(ConfigError, match=message):
            apply_method(config=config, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_remedy_without_a_folder_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run_method(data=striped_data(), config=ERM)
    assert (result.method.name, result.chosen, result.judged_by) == ("erm", "defaults", "nothing")
    assert result.evaluations["erm"] == result.after
    assert not list(tmp_path.iterdir())
