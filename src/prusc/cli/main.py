"""The command line: parses, calls, prints; no logic."""

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Literal, TypeVar

import tyro
from rich.console import Console

from prusc.benchmark import Matrix, Workers, narrow, read_matrix, read_suite, run_bench, suite_names
from prusc.cli.console import ConsoleProgress, print_audit, print_bench, print_method, print_result
from prusc.config import DataConfig, RunConfig
from prusc.config.presets import get_preset
from prusc.data.check import check_data, describe_report
from prusc.engine.runtime import is_main_process, keep_freed_memory
from prusc.errors import ConfigError, PruscError, nearest_names
from prusc.methods import run_method
from prusc.models.user_models import is_function_name
from prusc.report import compare_runs, try_report, write_report
from prusc.runs.audit import audit
from prusc.runs.debias import debias
from prusc.runs.folder import read_config

ResultT = TypeVar("ResultT")


@dataclass(frozen=True)
class _RunCommand:
    """From a classifier that takes shortcuts to a subnetwork that does without them, without group labels.

    Attributes:
        out: Run folder; an unfinished run of the same settings is resumed.
        force: Throw away what the run folder holds.
        config: Take the settings from this file, such as another run's config.toml; options given here replace them.
        preset: Take the settings of this name, such as celeba, waterbirds or isic; options given here replace them.
    """

    out: Path
    force: bool
    config: Path | None
    preset: str | None
    run: Annotated[RunConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class _AuditCommand(_RunCommand):
    """Is there a shortcut: clusters of a classifier that cut across its classes and fail, and the images to look at.

    These are the first stages of run, which goes on with them in the same run folder.
    """


@dataclass(frozen=True)
class _CheckCommand:
    """Read a data set once and say what is in it and what is wrong with it; the exit code is 1 if anything is.

    Attributes:
        data: A folder or table of images.
        layout: Name of the layout; recognised if not given.
        format: Text to read, or JSON.
        data_options: As for run.
    """

    data: tyro.conf.Positional[str]
    layout: str | None = None
    format: Literal["text", "json"] = "text"
    data_options: DataConfig = field(default_factory=DataConfig)


@dataclass(frozen=True)
class _ReportCommand:
    """Write the report of a run or an audit anew, from its folder alone: report.html, of a run model-card.md too.

    Attributes:
        folder: The folder of a run, finished or not, of an audit, or of a benchmark.
        figures: Also write the figures as PNG and SVG, into its folder figures.
        map: How the map of the representations is made: principal components, or t-SNE, which takes up to a minute.
    """

    folder: tyro.conf.Positional[Path]
    figures: bool = False
    map: Literal["pca", "tsne"] = "pca"


@dataclass(frozen=True)
class _CompareCommand:
    """Write a page that shows two or more finished runs side by side.

    Attributes:
        folders: Run folders.
        out: The page.
    """

    folders: tyro.conf.Positional[tuple[Path, ...]]
    out: Path = Path("comparison.html")


@dataclass(frozen=True)
class _BenchCommand:
    """Run methods on data, networks and seeds, on equal terms; the exit code is 1 if a cell failed.

    Finished cells are not run again: the same command goes on where it was stopped.

    Attributes:
        suite: Name of a suite of the package: small or real.
        matrix: TOML file of the form of the suites (docs/how-to/compare-remedies.md).
        out: Folder of the benchmark; every cell is a run folder in it.
        methods: Only these of the matrix's methods, or others; all for every one.
        seeds: Instead of the matrix's seeds.
        workers: How many cells run at once; one a core here, and on a cluster as many as it has room for, if not given.
        threads: Threads of each.
        backend: loky for processes of this machine; dask or ray for a cluster.
        address: Of the cluster; what its own environment variable says if not given. local starts one here.
        gpus_per_cell: Share of a GPU that Ray reserves for each cell.
        trust_models: Build networks of the form module:function that the matrix names, which runs their code.
    """

    suite: str | None = None
    matrix: Path | None = None
    out: Path = Path("runs/bench")
    methods: tuple[str, ...] | None = None
    seeds: tuple[int, ...] | None = None
    workers: int | None = None
    threads: int = 1
    backend: str = "loky"
    address: str | None = None
    gpus_per_cell: float = 0.0
    trust_models: bool = False


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 when done, 2 after an error of the user's to put right, 130 after Ctrl-C."""
    if isinstance(sys.stdout, TextIOWrapper):
        # A terminal or pipe may not have every character, and names of files may hold what is none.
        sys.stdout.reconfigure(errors="backslashreplace")
    keep_freed_memory()
    sys.exit(run_command_line(sys.argv[1:] if arguments is None else arguments))


def run_command_line(arguments: Sequence[str]) -> int:
    """Run one command.

    Args:
        arguments: What follows the program's name.

    Returns:
        The exit code.
    """
    errors = Console(stderr=True, soft_wrap=True)
    try:
        return _run(arguments)
    except PruscError as error:
        errors.print(f"prusc: {error}", style="red", markup=False, highlight=False)
        return 2
    except OSError as error:
        # Where no reader explains it: a folder that may not be entered, a name that is too long.
        errors.print(f"prusc: {error}; check the name and your permissions", style="red", markup=False, highlight=False)
        return 2
    except SystemExit as stop:
        # tyro exits by itself after its help and its errors.
        return int(stop.code or 0)
    except KeyboardInterrupt:
        errors.print("prusc: interrupted; the same command goes on with the stage that it was in", markup=False)
        return 130


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] not in (*_COMMANDS, "-h", "--help"):
        raise ConfigError(
            f"unknown command {arguments[0]!r}{nearest_names(arguments[0], _COMMANDS)}; "
            f"commands: {', '.join(_COMMANDS)}"
        )
    if not arguments or arguments[0] not in _COMMANDS:
        print(f"usage: prusc {{{','.join(_COMMANDS)}}} [OPTIONS]; prusc run --help lists the options")
        return 0 if arguments else 2
    return _COMMANDS[arguments[0]](list(arguments[1:]))


def _run_report(arguments: list[str]) -> int:
    command = tyro.cli(_ReportCommand, prog="prusc report", args=arguments)
    for line in write_report(command.folder, figures=command.figures, map_kind=command.map):
        print(f"missing: {line}")
    print(f"Report: {command.folder / 'report.html'}")
    return 0


def _run_compare(arguments: list[str]) -> int:
    command = tyro.cli(_CompareCommand, prog="prusc compare", args=arguments)
    compare_runs(command.folders, command.out)
    print(f"Comparison: {command.out}")
    return 0


def _read_settings(kind: type[_RunCommand], name: str, arguments: list[str]) -> _RunCommand:
    base, preset = _base_option(arguments, "--config"), _base_option(arguments, "--preset")
    if base is not None and preset is not None:
        raise ConfigError(
            f"--config {base} and --preset {preset} each give every setting; name one of them, and what should differ "
            "by its own option"
        )
    run = RunConfig() if base is None else read_config(Path(base))
    if preset is not None:
        run = get_preset(preset)
    given = {argument.partition("=")[0] for argument in arguments}
    if given & {"--weights", "--pretrained"}:
        # Training starts from one place; who names it does not mean that of the file or preset, nor its result.
        run = replace(run, weights=None, trained=None, pretrained=False)
    if is_function_name(run.model) and "--model" not in given:
        # A settings file may come from anywhere, and importing a module runs its code.
        raise ConfigError(
            f"config file {base} names the model {run.model!r}, whose code would be run; if you trust it, give it "
            f"yourself: --model {run.model}"
        )
    default = kind(
        out=Path("runs/prusc"), force=False, config=None if base is None else Path(base), preset=preset, run=run
    )
    return tyro.cli(kind, prog=f"prusc {name}", args=arguments, default=default)


def _run_audit(arguments: list[str]) -> int:
    return _go(_read_settings(_AuditCommand, "audit", arguments), audit, print_audit)


def _run_run(arguments: list[str]) -> int:
    command = _read_settings(_RunCommand, "run", arguments)
    if command.run.method == "prusc":
        return _go(command, debias, print_result)
    return _go(command, run_method, print_method)


def _go(command: _RunCommand, task: Callable[..., ResultT], show: Callable[[ResultT, Path], None]) -> int:
    with ConsoleProgress(Console(stderr=True, soft_wrap=True)) as progress:
        result = task(config=command.run, out=command.out, force=command.force, progress=progress)
    if is_main_process():
        show(result, command.out)
        _report(command.out)
    return 0


def _report(out: Path) -> None:
    problem = try_report(out)
    print(f"Report: {out / 'report.html'}" if problem is None else f"No report: {problem}")


def _run_check(arguments: list[str]) -> int:
    command = tyro.cli(_CheckCommand, prog="prusc check", args=arguments)
    with ConsoleProgress(Console(stderr=True, soft_wrap=True)) as progress:
        report = check_data(
            command.data,
            layout=command.layout,
            progress=lambda done, total: progress.advance("reading images", done, total),
            **command.data_options.given(),
        )
    if command.format == "json":
        print(json.dumps(report.to_dict(), indent=2))
    else:
        print("\n".join(describe_report(report)))
    return 0 if report.is_good else 1


def _run_bench(arguments: list[str]) -> int:
    command = tyro.cli(_BenchCommand, prog="prusc bench", args=arguments)
    matrix = narrow(_read_matrix(command), methods=command.methods, seeds=command.seeds)
    workers = Workers(command.backend, command.workers, command.threads, command.address, command.gpus_per_cell)
    with ConsoleProgress(Console(stderr=True, soft_wrap=True)) as progress:
        result = run_bench(matrix, command.out, workers=workers, trust_models=command.trust_models, progress=progress)
    print_bench(result, command.out)
    _report(command.out)
    return 1 if result.failed else 0


def _read_matrix(command: _BenchCommand) -> Matrix:
    if (command.suite is None) == (command.matrix is None):
        raise ConfigError(
            f"prusc bench takes either --suite or --matrix; the suites are {', '.join(suite_names())}, and a matrix is "
            "a TOML file of their form"
        )
    if command.suite is not None:
        return read_suite(command.suite)
    assert command.matrix is not None
    return read_matrix(command.matrix)


def _base_option(arguments: Sequence[str], name: str) -> str | None:
    """Return the value of an option that decides what the defaults of the others are."""
    for index, argument in enumerate(arguments):
        if argument == name and index + 1 < len(arguments):
            return arguments[index + 1]
        if argument.startswith(f"{name}="):
            return argument.partition("=")[2]
    return None


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "check": _run_check,
    "audit": _run_audit,
    "run": _run_run,
    "report": _run_report,
    "compare": _run_compare,
    "bench": _run_bench,
}
