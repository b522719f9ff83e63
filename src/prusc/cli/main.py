"""The command line: it parses options, calls the library and prints, without logic of its own.

A command imports what it needs after its options are parsed. So help, version and usage errors appear at once.
"""

import io
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr
from dataclasses import dataclass, replace
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, Union, cast

import tyro
from rich.console import Console

from prusc.cli.commands import (
    AuditCommand,
    BenchCommand,
    CheckCommand,
    CompareCommand,
    CompletionCommand,
    ExportCommand,
    ModularityCommand,
    PresetsCommand,
    ReportCommand,
    RunCommand,
)
from prusc.cli.short_help import short_help
from prusc.config import RunConfig, config_to_dict, is_function_name, read_config
from prusc.config.presets import PRESET_TEXTS, PRESETS, get_preset
from prusc.config.version import find_version
from prusc.engine.process import (
    describe_size,
    folder_size,
    is_main_process,
    keep_freed_memory,
    let_threads_sleep,
)
from prusc.engine.progress import ConsoleProgress, Verbosity
from prusc.errors import ConfigError, PruscError, nearest_names
from prusc.methods.registry import check_method_name

if TYPE_CHECKING:
    from prusc.benchmark import Matrix

CommandT = TypeVar("CommandT", bound=RunCommand)
ParsedT = TypeVar("ParsedT")
ResultT = TypeVar("ResultT")

# As of a program that the signal SIGPIPE ends.
_PIPE_CLOSED = 141
_QUIET, _VERBOSE, _HELP = ("--quiet", "-q"), ("--verbose", "-v"), ("--help", "-h")


@dataclass
class _Output:
    """How much is printed."""

    verbosity: Verbosity = "normal"
    as_json: bool = False

    def progress(self) -> ConsoleProgress:
        return ConsoleProgress(verbosity=self.verbosity)


_output = _Output()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code.

    The code is 0 for success, 1 if a check or a benchmark found failures, 2 for an error that the user can correct, 130
    after Ctrl-C, and 141 if what reads the output has closed it.
    """
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal or pipe may lack characters, and file names may hold bytes that are no characters.
        sys.stdout.reconfigure(errors="backslashreplace")
    keep_freed_memory()
    let_threads_sleep()
    try:
        code = run_command_line(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        code = _PIPE_CLOSED
    if code == _PIPE_CLOSED:
        # Python writes what is left when it exits, which must not fail again.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            os.dup2(nowhere, stream.fileno())
    sys.exit(code)


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: Arguments after the program's name.

    Returns:
        The exit code.
    """
    _output.as_json = _base_option(arguments, "--format") == "json"
    _output.verbosity = "normal"
    for verbosity, names in (("quiet", _QUIET), ("verbose", _VERBOSE)):
        if any(name in arguments for name in names):
            _output.verbosity = cast(Verbosity, verbosity)
    errors = Console(stderr=True, soft_wrap=True)
    try:
        return _run([argument for argument in arguments if argument not in (*_QUIET, *_VERBOSE)])
    except PruscError as error:
        _print_error(str(error), type(error).__name__, errors)
        return 2
    except BrokenPipeError:
        return _PIPE_CLOSED
    except OSError as error:
        # For example a folder without permission, or a name that is too long.
        _print_error(f"{error}; check the name and your permissions", type(error).__name__, errors)
        return 2
    except SystemExit as stop:
        # tyro exits after its help and its errors.
        return int(stop.code or 0)
    except KeyboardInterrupt:
        errors.print("prusc: interrupted; the same command resumes the stage that was interrupted", markup=False)
        return 130


def _print_error(message: str, kind: str, errors: Console) -> None:
    """Print an error, as JSON on standard output where JSON was asked for."""
    if _output.verbosity == "verbose":
        errors.print(traceback.format_exc(), markup=False, highlight=False)
    if _output.as_json:
        print(json.dumps({"error": {"kind": kind, "message": message}}, indent=2))
    else:
        errors.print(f"prusc: {message}", style="red", markup=False, highlight=False)


def _parse(kind: type[ParsedT], name: str, arguments: Sequence[str], default: ParsedT | None = None) -> ParsedT:
    """Parse the options of a command; its help is short unless all of it is asked for."""
    if any(argument in _HELP for argument in arguments):
        text = short_help(name)
        if text is not None:
            print(text)
            raise SystemExit(0)
    given = ["--help" if argument == "--help-all" else argument for argument in arguments]

    def parse() -> ParsedT:
        if default is None:
            return tyro.cli(kind, prog=f"prusc {name}", args=given)
        return tyro.cli(kind, prog=f"prusc {name}", args=given, default=default)

    if not _output.as_json:
        return parse()
    printed = io.StringIO()
    try:
        with redirect_stderr(printed):
            return parse()
    except SystemExit as stop:
        if stop.code:
            # Without the frame around it.
            words = printed.getvalue().translate(dict.fromkeys(map(ord, "╭╮╰╯─│"), " ")).split()
            raise ConfigError(" ".join(words)) from stop
        raise


def _run(arguments: Sequence[str]) -> int:
    first = arguments[0] if arguments else ""
    if first == "--version":
        print(f"prusc {find_version()}")
        return 0
    if first in _COMMANDS:
        return _COMMANDS[first][1](list(arguments[1:]))
    if first not in ("", "-h", "--help"):
        raise ConfigError(
            f"unknown command {first!r}{nearest_names(first, _COMMANDS)}; commands: {', '.join(_COMMANDS)}"
        )
    print("usage: prusc COMMAND [OPTIONS]\n")
    width = max(len(name) for name in _COMMANDS)
    print("\n".join(f"  {name:<{width}}  {text}" for name, (text, _) in _COMMANDS.items()))
    print(
        "\nprusc COMMAND --help lists the usual options of a command, --help-all all of them.\n"
        "--quiet and --verbose go with every command; prusc --version prints the version."
    )
    return 0 if first else 2


def _read_settings(kind: type[CommandT], name: str, arguments: list[str]) -> CommandT:
    base, preset = _base_option(arguments, "--config"), _base_option(arguments, "--preset")
    if base is not None and preset is not None:
        raise ConfigError(
            f"--config {base} and --preset {preset} each give every setting; name one of them, and override "
            "single settings by their own options"
        )
    run = RunConfig() if base is None else read_config(Path(base))
    if preset is not None:
        run = get_preset(preset)
    # The budget is a setting of the masks, but what a user asks for is a smaller network.
    arguments = [
        argument.replace("--budget-flops", "--masks.budget-flops", 1)
        if argument.partition("=")[0] == "--budget-flops"
        else argument
        for argument in arguments
    ]
    given = {argument.partition("=")[0] for argument in arguments}
    if given & {"--weights", "--pretrained"}:
        # Only one option may name the initial weights, so those of the file or preset no longer hold, nor its trained
        # network.
        run = replace(run, weights=None, trained=None, pretrained=False)
    if is_function_name(run.model) and "--model" not in given:
        # A settings file may come from anywhere, and importing a module runs its code.
        raise ConfigError(
            f"config file {base} names the model {run.model!r}, whose code prusc would run; if you trust it, name it "
            f"yourself: --model {run.model}"
        )
    default = kind(
        out=Path("runs/prusc"), force=False, config=None if base is None else Path(base), preset=preset, run=run
    )
    command = _parse(kind, name, arguments, default)
    check_method_name(command.run.method)
    return command


def _base_option(arguments: Sequence[str], name: str) -> str | None:
    """Return the value of an option that sets the defaults of the others, or ``None``."""
    for index, argument in enumerate(arguments):
        if argument == name and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return None


def _run_audit(arguments: list[str]) -> int:
    command = _read_settings(AuditCommand, "audit", arguments)
    from prusc.cli.console import print_audit, print_features

    if command.run.features is not None:
        from prusc.runs.features import audit_features

        return _go(command, audit_features, print_features)
    from prusc.runs.audit import audit

    return _go(command, audit, print_audit)


def _run_run(arguments: list[str]) -> int:
    command = _read_settings(RunCommand, "run", arguments)
    from prusc.cli.console import print_method
    from prusc.methods import apply_method

    return _go(command, apply_method, print_method)


def _run_modularity(arguments: list[str]) -> int:
    command = _read_settings(ModularityCommand, "modularity", arguments)
    if command.by is not None:
        settings = replace(command.run.modularity, by=command.by)
        command = replace(command, run=replace(command.run, modularity=settings))
    from prusc.cli.console import print_modularity
    from prusc.runs.modularity import inspect_modularity

    return _go(command, inspect_modularity, print_modularity)


def _go(command: RunCommand, task: Callable[..., ResultT], show: Callable[[ResultT, Path], None]) -> int:
    with _output.progress() as progress:
        result = task(config=command.run, out=command.out, force=command.force, progress=progress)
    if is_main_process():
        report = _report(command.out)  # Before anything is printed, because what reads the output may have closed it.
        show(result, command.out)
        print(report)
        print(f"Disk: {describe_size(folder_size(command.out))} in {command.out}")
    return 0


def _report(out: Path) -> str:
    """Write the report, and return a line about it."""
    from prusc.report import try_report

    problem = try_report(out)
    return f"Report: {out / 'report.html'}" if problem is None else f"No report: {problem}"


def _run_export(arguments: list[str]) -> int:
    command = _parse(ExportCommand, "export", arguments)
    if (command.folder / "config.toml").is_file() and not command.trust_models:
        model = read_config(command.folder / "config.toml").model
        if is_function_name(model):
            # A run folder may come from anywhere, and importing a module runs its code.
            raise ConfigError(
                f"run folder {command.folder} names the model {model!r}, whose code prusc would run; if you trust it, "
                "add --trust-models"
            )
    from prusc.cli.console import print_export
    from prusc.runs.export.task import export

    print_export(export(command.folder, format=command.format, compact=command.compact, out=command.out))
    return 0


def _run_report(arguments: list[str]) -> int:
    command = _parse(ReportCommand, "report", arguments)
    from prusc.report import write_report

    for line in write_report(command.folder, figures=command.figures, map_kind=command.map):
        print(f"missing: {line}")
    print(f"Report: {command.folder / 'report.html'}")
    return 0


def _run_compare(arguments: list[str]) -> int:
    command = _parse(CompareCommand, "compare", arguments)
    from prusc.report import compare_runs

    compare_runs(command.folders, command.out)
    print(f"Comparison: {command.out}")
    return 0


def _run_check(arguments: list[str]) -> int:
    command = _parse(CheckCommand, "check", arguments)
    from prusc.data.check import check_data, describe_report

    with _output.progress() as progress:
        report = check_data(
            command.data,
            layout=command.layout,
            near_duplicates=command.near_duplicates,
            progress=lambda done, total: progress.advance("reading images", done, total),
            **command.data_options.given(),
        )
    if command.format == "json":
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print("\n".join(describe_report(report)))
    return 0 if report.is_good else 1


def _run_bench(arguments: list[str]) -> int:
    command = _parse(BenchCommand, "bench", arguments)
    from prusc.benchmark.suites import suite_names

    if (command.suite is None) == (command.matrix is None):
        raise ConfigError(
            f"prusc bench takes either --suite or --matrix, found {'none' if command.suite is None else 'both'}; the "
            f"suites are {', '.join(suite_names())}, and a matrix is a TOML file of their form"
        )
    from prusc.benchmark import Workers, narrow, run_bench
    from prusc.cli.console import print_bench

    matrix = narrow(_read_matrix(command), methods=command.methods, seeds=command.seeds)
    workers = Workers(command.backend, command.workers, command.threads, command.address, command.gpus_per_cell)
    with _output.progress() as progress:
        result = run_bench(matrix, command.out, workers=workers, trust_models=command.trust_models, progress=progress)
    report = _report(command.out)
    print_bench(result, command.out)
    print(report)
    return 1 if result.failed else 0


def _read_matrix(command: BenchCommand) -> "Matrix":
    from prusc.benchmark import read_matrix, read_suite

    if command.matrix is None:
        assert command.suite is not None, "one of the two is given"
        return read_suite(command.suite)
    return read_matrix(command.matrix)


def _run_presets(arguments: list[str]) -> int:
    command = _parse(PresetsCommand, "presets", arguments)
    if command.name is None:
        for name, preset in PRESETS.items():
            print(f"{name:<18} {preset.data}, {preset.model}: {PRESET_TEXTS[name]}")
        print("\nprusc presets NAME prints all settings, as a file for --config; prusc run --preset NAME uses them.")
        return 0
    import tomli_w

    print(tomli_w.dumps(config_to_dict(get_preset(command.name))), end="")
    return 0


def _run_completion(arguments: list[str]) -> int:
    command = _parse(CompletionCommand, "completion", arguments)
    parts: dict[str, Any] = {
        "check": CheckCommand,
        "audit": AuditCommand,
        "run": RunCommand,
        "modularity": ModularityCommand,
        "export": ExportCommand,
        "report": ReportCommand,
        "compare": CompareCommand,
        "bench": BenchCommand,
        "presets": PresetsCommand,
        "completion": CompletionCommand,
    }
    subcommands = [Annotated[kind, tyro.conf.subcommand(name)] for name, kind in parts.items()]
    every: Any = Union[tuple(subcommands)]  # noqa: UP007 -- made of a list
    tyro.cli(every, prog="prusc", args=["--tyro-print-completion", command.shell])
    return 0


_COMMANDS: dict[str, tuple[str, Callable[[list[str]], int]]] = {
    "check": ("read a data set once and list its problems", _run_check),
    "audit": ("find the shortcuts of a classifier", _run_audit),
    "run": ("extract a network without the shortcuts, or apply another method", _run_run),
    "modularity": ("find the weights that single functions of a classifier use", _run_modularity),
    "export": ("export the chosen network of a run as a file to deploy", _run_export),
    "report": ("write the report of a run folder again", _run_report),
    "compare": ("compare runs side by side", _run_compare),
    "bench": ("compare methods on data sets, networks and seeds", _run_bench),
    "presets": ("list packaged settings, or print those of one", _run_presets),
    "completion": ("print what completes commands and options in bash, zsh or tcsh", _run_completion),
}
