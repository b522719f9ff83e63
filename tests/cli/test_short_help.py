"""The short help, and what goes with every command: how much is printed, JSON for failures, a pipe that closes."""

import json
import re
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from prusc.cli.main import run_command_line
from prusc.cli.short_help import short_help
from prusc.config import config_from_dict
from prusc.config.presets import PRESET_TEXTS, PRESETS, get_preset
from prusc.config.run import RunConfig
from tests.cli.faces import Capture, cut, on_faces

DOTTED = re.compile(r"--[a-z][a-z.-]+")


@pytest.mark.parametrize("command", ["run", "audit", "check"])
def test_every_option_of_the_short_help_is_one_of_the_command(command: str, capsys: Capture) -> None:
    text = short_help(command)
    assert text is not None
    assert len(text.splitlines()) <= 40
    assert max(map(len, text.splitlines())) <= 120
    assert run_command_line([command, "--help"]) == 0
    assert capsys.readouterr().out == text + "\n"
    assert run_command_line([command, "--help-all"]) == 0
    everything = capsys.readouterr().out
    assert len(everything) > 3 * len(text)
    for option in set(DOTTED.findall(text)) - {"--help-all", "--quiet", "--verbose"}:
        assert f"{option} " in everything or f"{option}," in everything, option


def test_other_commands_have_one_help(capsys: Capture) -> None:
    assert short_help("report") is None
    printed = []
    for option in ("--help", "--help-all"):
        assert run_command_line(["report", option]) == 0
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1]
    assert "figures" in printed[0]


def test_help_and_usage_errors_are_quick(tmp_path: Path) -> None:
    for arguments, code in ((["--help"], 0), (["run", "--help"], 0), (["run", "--foo"], 2), (["rum"], 2)):
        begin = time.process_time_ns()
        code_and_time = subprocess.run(
            [sys.executable, "-c", _TIMED, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.splitlines()[-1]
        found, seconds = code_and_time.split()
        assert int(found) == code
        assert float(seconds) < 0.7, arguments
        assert time.process_time_ns() >= begin


_TIMED = """
import sys, time
from prusc.cli.main import run_command_line
code = run_command_line(sys.argv[1:])
print(code, time.process_time())
"""


def test_presets_are_listed_and_printed_as_settings(capsys: Capture) -> None:
    assert PRESET_TEXTS.keys() == PRESETS.keys()
    assert run_command_line(["presets"]) == 0
    printed = capsys.readouterr().out
    assert all(f"{name} " in printed for name in PRESETS)
    for name in PRESETS:
        assert run_command_line(["presets", name]) == 0
        assert config_from_dict(RunConfig, tomllib.loads(capsys.readouterr().out)) == get_preset(name)
    assert run_command_line(["presets", "celebb"]) == 2
    assert "did you mean celeba" in capsys.readouterr().err


def test_completion_knows_the_commands_and_their_options(capsys: Capture) -> None:
    for shell in ("bash", "zsh"):
        assert run_command_line(["completion", shell]) == 0
        script = capsys.readouterr().out
        for word in ("audit", "compare", "--masks.steps", "--near-duplicates", "complet"):
            assert word in script, (shell, word)


def test_failures_are_json_where_json_was_asked_for(faces: Path, tmp_path: Path, capsys: Capture) -> None:
    for arguments, kind, text in (
        (["check", str(tmp_path / "none"), "--format", "json"], "ConfigError", "neither a packaged data set"),
        (["check", str(faces), "--format=json", "--foo"], "ConfigError", "Unrecognized options: --foo"),
        (["check", str(faces), "--format", "json", "--layout", "celebb"], "ConfigError", "did you mean celeba"),
    ):
        assert run_command_line(arguments) == 2
        printed = capsys.readouterr()
        error = json.loads(printed.out)["error"]
        assert error["kind"] == kind
        assert text in error["message"]
        assert printed.err == ""
    cut(faces)
    assert run_command_line(["check", str(faces), "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["is_good"] is False


def test_how_much_is_printed(faces: Path, out: Path, tmp_path: Path, capsys: Capture) -> None:
    assert run_command_line([*on_faces(faces, out), "--quiet"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert "Report: " in printed.out
    assert re.search(r"^Disk: \d+ (kB|MB) in ", printed.out, re.MULTILINE)
    arguments = on_faces(faces, tmp_path / "other")
    assert run_command_line([arguments[0], "-v", *arguments[1:]]) == 0
    lines = capsys.readouterr().err.splitlines()
    assert all(re.match(r"\[\d+\.\d s, \d+ MiB\] ", line) for line in lines)
    stages = [line.partition("] ")[2] for line in lines if "] stage " in line]
    assert stages[0].startswith("stage 1 of 8: erm")
    assert [re.match(r"stage (\d) of 8: ", stage)[1] for stage in stages] == list("12345678")  # type: ignore[index]
    assert sorted(path.name for path in (out / "checkpoints").iterdir()) == ["epoch-001.safetensors"]
    assert run_command_line(["run", "--verbose", "--trained", "nowhere.pt"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_pipe_that_closes_ends_the_program_without_a_trace(faces: Path, tmp_path: Path) -> None:
    for arguments in (["presets", "isic"], ["check", str(faces)], ["run", "--help-all"]):
        process = subprocess.Popen(
            [sys.executable, "-c", _CLOSED, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=tmp_path
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        errors = process.stderr.read()
        assert process.wait(60) == 141
        assert errors == b""


# Its output is more than a pipe holds only if nothing reads it: the pipe is closed before the first byte.
_CLOSED = """
import sys, time
from prusc.cli.main import main
time.sleep(0.3)
main(sys.argv[1:])
"""
