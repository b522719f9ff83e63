"""The command line: parses, calls, prints; no logic."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Annotated, Literal

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table

from prusc.config import RunConfig
from prusc.errors import ConfigError, PruscError, nearest_names
from prusc.pipeline import debias
from prusc.report import compare_runs, try_report, write_report
from prusc.result import FAMILY_TITLES, VERDICT_TEXTS, DebiasingResult
from prusc.run_folder import read_config
from prusc.runtime import is_main_process

_COMMANDS = ("run", "report", "compare")


@dataclass(frozen=True)
class _RunCommand:
    """From a classifier that takes shortcuts to a subnetwork that does without them, without group labels.

    Attributes:
        out: Run folder; an unfinished run of the same settings is resumed.
        force: Throw away what the run folder holds.
        config: Take the settings from this file, such as another run's config.toml; options given here replace them.
    """

    out: Path
    force: bool
    config: Path | None
    run: Annotated[RunConfig, tyro.conf.arg(name="")]


@dataclass(frozen=True)
class _ReportCommand:
    """Write the report of a run anew, from its run folder alone: report.html and model-card.md.

    Attributes:
        folder: Run folder, finished or not.
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


class _ConsoleProgress:
    """A line per stage and, on a terminal, a bar for the work in hand."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = TextColumn("  {task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        self._bars = RichProgress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task: tuple[str, int] | None = None

    def __enter__(self) -> "_ConsoleProgress":
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, markup=False, highlight=False)

    def advance(self, task: str, done: int, total: int) -> None:
        """Move the bar."""
        if self._bars.disable:
            return
        if self._task is None or self._task[0] != task:
            if self._task is not None:
                self._bars.remove_task(self._bars.task_ids[0])
            self._task = (task, total)
            self._bars.add_task(task, total=total)
        self._bars.update(self._bars.task_ids[0], completed=done)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 when done, 2 after an error of the user's to put right, 130 after Ctrl-C."""
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
    commands = {"run": _run_run, "report": _run_report, "compare": _run_compare}
    commands[arguments[0]](list(arguments[1:]))
    return 0


def _run_report(arguments: list[str]) -> None:
    command = tyro.cli(_ReportCommand, prog="prusc report", args=arguments)
    for line in write_report(command.folder, figures=command.figures, map_kind=command.map):
        print(f"missing: {line}")
    print(f"Report: {command.folder / 'report.html'}")


def _run_compare(arguments: list[str]) -> None:
    command = tyro.cli(_CompareCommand, prog="prusc compare", args=arguments)
    compare_runs(command.folders, command.out)
    print(f"Comparison: {command.out}")


def _run_run(arguments: list[str]) -> None:
    base = _config_file(arguments)
    default = _RunCommand(
        out=Path("runs/prusc"), force=False, config=base, run=RunConfig() if base is None else read_config(base)
    )
    command = tyro.cli(_RunCommand, prog="prusc run", args=arguments, default=default)
    console = Console(stderr=True, soft_wrap=True)
    with _ConsoleProgress(console) as progress:
        result = debias(config=command.run, out=command.out, force=command.force, progress=progress)
    if is_main_process():
        _print_result(result, command.out)
        problem = try_report(command.out)
        print(f"Report: {command.out / 'report.html'}" if problem is None else f"No report: {problem}")


def _config_file(arguments: Sequence[str]) -> Path | None:
    for index, argument in enumerate(arguments):
        if argument == "--config" and index + 1 < len(arguments):
            return Path(arguments[index + 1])
        if argument.startswith("--config="):
            return Path(argument.partition("=")[2])
    return None


def _print_clusters(result: DebiasingResult, console: Console) -> None:
    """Show the clusters that gave the shortcut away: in each one, its main class and the samples of the others."""
    table = Table(title="Clusters of the validation split; accuracies in %, before -> after")
    for name in ("cluster", "main class", "samples", "accuracy", "other samples", "accuracy"):
        table.add_column(name, justify="left" if name == "main class" else "right")
    for cluster, (main, *others) in groupby(result.cells, key=lambda cell: cell.cluster):
        row = [str(cluster), result.class_names[main.label]]
        for cells in ([main], others):
            num = sum(cell.num_samples for cell in cells)
            before, after = (
                100 * sum(cell.num_samples * value for cell, value in zip(cells, values, strict=True)) / max(num, 1)
                for values in ([cell.before for cell in cells], [cell.after for cell in cells])
            )
            row += [str(num), f"{before:.1f} -> {after:.1f}" if num else "-"]
        table.add_row(*row)
    console.print(table)


def _print_result(result: DebiasingResult, out: Path) -> None:
    num_samples = result.evaluations["erm"]["test"].num_samples
    table = Table(title=f"Test split, {num_samples} samples; accuracies in %, 95 % intervals in brackets")
    for name in ("network", "average", "group-balanced", "worst group", "n of it", "chosen candidate"):
        table.add_column(name, justify="left" if name in ("network", "chosen candidate") else "right")
    for name, splits in result.evaluations.items():
        test = splits["test"]
        low, high = test.worst_group_ci95
        table.add_row(
            FAMILY_TITLES[name],
            f"{100 * test.average_accuracy:.1f}",
            f"{100 * test.balanced_accuracy:.1f}",
            f"{100 * test.worst_group_accuracy:.1f} [{100 * low:.1f}, {100 * high:.1f}]",
            str(test.worst_group.num_samples),
            result.chosen[name],
        )
    console = Console(width=None if sys.stdout.isatty() else 120)
    _print_clusters(result, console)
    console.print(table)
    console.print(f"{result.verdict}: {VERDICT_TEXTS[result.verdict]}", markup=False, highlight=False)
    console.print(
        f"{100 * result.mask.density:.0f} % of the weights kept; chosen by the {result.judged_by} of the validation "
        f"split; group labels were used for evaluation only. Run folder: {out}",
        markup=False,
        highlight=False,
    )
