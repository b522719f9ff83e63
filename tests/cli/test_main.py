"""What the program does around its commands: help, version, exit codes, interruptions, the terminal."""

import io
import re
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest

from prusc.cli.main import main, run_command_line
from tests.cli.faces import Capture, check_refused, cut, on_faces

COMMANDS = (
    *("check", "audit", "run", "modularity", "export", "report", "compare", "bench", "presets"),
    "completion",
)


def test_what_the_terminal_cannot_show_is_written_out(
    faces: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(faces)
    odd = faces.with_name("\u00df")
    faces.rename(odd)
    shown = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(shown, encoding="ascii"))
    with pytest.raises(SystemExit) as stop:
        main(["check", str(odd)])
    assert stop.value.code == 1
    sys.stdout.flush()
    assert b"/\\xdf/img_align_celeba/000003.jpg is damaged" in shown.getvalue()


def test_ctrl_c_ends_the_run_and_the_same_command_goes_on(faces: Path, out: Path, capsys: Capture) -> None:
    arguments = on_faces(faces, out, "--masks.steps 100")
    # Whoever runs the tests in the background has SIGINT ignored, and children inherit that.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); import prusc.__main__ as p; p.main()"
    )
    process = subprocess.Popen([sys.executable, "-c", code, *arguments], stderr=subprocess.PIPE, text=True)
    stages = out / "stages" / "seconds.json"  # the stages that are over
    while process.poll() is None and not (stages.exists() and "debiasing_set" in stages.read_text()):
        time.sleep(0.002)
    process.send_signal(signal.SIGINT)
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == 130, errors
    assert errors.endswith("\nprusc: interrupted; the same command resumes the stage that was interrupted\n")
    assert "Traceback" not in errors
    assert not (out / "stages" / "masks.safetensors").exists(), "the masks were learned before the interruption"
    assert run_command_line(arguments) == 0
    assert "erm: loaded from the run folder" in capsys.readouterr().err


def test_the_command_itself_prints_one_line_and_exits_with_2(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "prusc", "run", "--trained", "nowhere.pt"]
    finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert (finished.returncode, finished.stdout) == (2, "")
    assert finished.stderr == "prusc: weight file nowhere.pt does not exist or is not a file\n"
    assert not list(tmp_path.iterdir())


def test_help_lists_every_command_with_one_line(capsys: Capture) -> None:
    for option in ("--help", "-h"):
        assert run_command_line([option]) == 0
        printed = capsys.readouterr()
        assert printed.err == ""
        listed = re.findall(r"^  (\w+) +(\S.*)$", printed.out, flags=re.MULTILINE)
        assert [name for name, _ in listed] == list(COMMANDS)
        assert all(20 < len(text) < 80 for _, text in listed)
        assert max(map(len, printed.out.splitlines())) <= 100


def test_a_command_is_needed(capsys: Capture) -> None:
    assert run_command_line([]) == 2
    assert capsys.readouterr().out.startswith("usage: prusc COMMAND [OPTIONS]\n")


def test_the_version_is_that_of_the_package(capsys: Capture) -> None:
    assert run_command_line(["--version"]) == 0
    assert capsys.readouterr() == (f"prusc {version('prusc')}\n", "")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_misspelt_option_is_a_usage_error_of_every_command(command: str, capsys: Capture) -> None:
    needed = {
        "check": ["folder"],
        "export": ["folder"],
        "report": ["folder"],
        "compare": ["folder"],
        "completion": ["bash"],
    }.get(command, [])
    assert run_command_line([command, *needed, "--foo"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "Unrecognized options: --foo" in " ".join(printed.err.split())
    assert f"prusc {command} --help" in printed.err
    assert "Traceback" not in printed.err


def test_main_exits_with_the_code_of_the_command(capsys: Capture) -> None:
    for arguments, code in ((["--version"], 0), (["rum"], 2)):
        with pytest.raises(SystemExit) as stop:
            main(arguments)
        assert stop.value.code == code
    assert "Traceback" not in capsys.readouterr().err


def test_an_interrupted_command_says_how_to_go_on(capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(_arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("prusc.cli.main._run", interrupt)
    assert run_command_line(["run"]) == 130
    assert capsys.readouterr().err == ("prusc: interrupted; the same command resumes the stage that was interrupted\n")


def test_a_benchmark_takes_one_description(capsys: Capture) -> None:
    for given, found in ((["--suite", "small", "--matrix", "m.toml"], "both"), ([], "none")):
        expected = f"prusc bench takes either --suite or --matrix, found {found}; the suites are ... small ... TOML"
        check_refused(capsys, ["bench", *given], expected)


def test_help_version_and_usage_errors_import_nothing_heavy(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from prusc.cli.main import run_command_line\n"
        "lines = ('--help', '--version', 'rum', 'run --foo', 'run --help-all')\n"
        "codes = [run_command_line(line.split()) for line in lines]\n"
        "heavy = {'torch', 'torchvision', 'timm', 'sklearn', 'pandas', 'plotly', 'jinja2'} & sys.modules.keys()\n"
        "print(codes, sorted(heavy))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 2, 2, 0] []"
