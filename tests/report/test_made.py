"""Settings and commands of a report."""

import shlex
from dataclasses import replace
from pathlib import Path

import pytest

from prusc import RunConfig
from prusc.cli.main import run_command_line
from prusc.config import FinetuneConfig, config_to_dict
from prusc.report.made import list_settings, repeat_command
from prusc.report.reading.run import read_run


def test_every_setting_is_listed_once_and_changed_ones_come_first() -> None:
    config = RunConfig(seed=7, finetune=FinetuneConfig(head_l2=(0.1, 0.01)))
    rows = list_settings(config)
    changed = {name: value for name, value, is_changed in rows if is_changed}
    assert changed == {"seed": "7", "finetune.head_l2": "0.1, 0.01"}
    assert [is_changed for *_, is_changed in rows] == [True, True] + [False] * (len(rows) - 2)

    def count(settings: dict[str, object]) -> int:
        return sum(count(value) if isinstance(value, dict) else 1 for value in settings.values())

    names = [name for name, *_ in rows]
    assert len(names) == len(set(names)) >= count(config_to_dict(config))
    values = {name: value for name, value, _ in rows}
    assert values["clustering.num_clusters"] == "not given"


def test_the_command_is_one_that_a_shell_and_prusc_read_back(
    shared_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = replace(read_run(shared_run), path=tmp_path / "it's a run")
    words = shlex.split(repeat_command(record, "run"))
    path = str(tmp_path / "it's a run")
    assert words == ["prusc", "run", "--config", f"{path}/config.toml", "--out", f"{path}-again"]
    assert run_command_line(words[1:]) == 2
    assert "config.toml" in capsys.readouterr().err
