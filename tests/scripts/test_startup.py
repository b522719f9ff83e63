import json

import pytest

from tests.scripts.scripts import import_script


def test_each_command_runs_once_a_round_and_the_first_round_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_script(monkeypatch, "startup", "benchmarks")
    seconds = script.measure(
        {"nothing": (("-S", "-c", "pass"), 0), "fails": (("-S", "-c", "raise SystemExit(3)"), 3)}, 2
    )
    assert list(seconds) == ["nothing", "fails"]
    assert [len(own) for own in seconds.values()] == [2, 2]
    assert all(0 < value < 60 for own in seconds.values() for value in own)


def test_another_exit_code_than_expected_ends_the_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_script(monkeypatch, "startup", "benchmarks")
    with pytest.raises(SystemExit, match=r"^nothing: exit code 1, expected 0\nwhy"):
        script.measure({"nothing": (("-S", "-c", "raise SystemExit('why')"), 0)}, 1)


def test_the_table_has_median_and_range(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = import_script(monkeypatch, "startup", "benchmarks")
    lines = script.make_table({"prusc --help": [0.5, 2.0, 0.25], "pass": [1.0]}).splitlines()
    assert [line.split()[-3:] for line in lines] == [["median", "min", "max"], ["0.50", "0.25", "2.00"], ["1.00"] * 3]
    assert len({len(line) for line in lines}) == 1
    monkeypatch.setattr(script, "measure", lambda commands, num_runs: dict.fromkeys(commands, [0.5] * num_runs))
    script.main(["--runs", "3"])
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("seconds of wall time, 3 runs of each, Python 3.")
    assert json.loads(printed[-1]) == dict.fromkeys(script.COMMANDS, 0.5)
    with pytest.raises(SystemExit) as stop:
        script.main(["--runs", "0"])
    assert stop.value.code == 2
    assert "--runs must be at least 1, found 0" in capsys.readouterr().err


def test_it_measures_the_library_and_the_command_beside_the_yardsticks(monkeypatch: pytest.MonkeyPatch) -> None:
    script = import_script(monkeypatch, "startup", "benchmarks")
    assert list(script.COMMANDS)[:2] == ["python -c pass", 'python -c "import torch"']
    assert {name: code for name, (_, code) in script.COMMANDS.items() if code} == {"prusc run --foo": 2}
