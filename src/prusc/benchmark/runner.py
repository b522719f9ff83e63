"""Running a benchmark: first the shared ERM networks, then every cell that is not finished."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tomli_w

from prusc.benchmark.backends import Workers
from prusc.benchmark.checks import check_cells, check_same_data
from prusc.benchmark.matrix import Cell, Matrix, matrix_to_dict
from prusc.benchmark.output import write_output, write_tables
from prusc.benchmark.rows import read_row, read_rows
from prusc.benchmark.work import Task, cell_task, is_done, original_task, record_error, run_task
from prusc.engine.progress import Progress, SilentProgress
from prusc.runs.folder import write_file

MATRIX = "bench.toml"


@dataclass(frozen=True, eq=False)
class BenchResult:
    """Result of a benchmark.

    Attributes:
        rows: One row per finished cell, see `prusc.benchmark.rows`.
        failed: The failed cells, each with its error in one line.
        missing: One line per output file that could not be written.
    """

    rows: pd.DataFrame
    failed: tuple[tuple[Cell, str], ...]
    missing: tuple[str, ...]


def run_bench(
    matrix: Matrix,
    out: Path | str,
    *,
    workers: Workers | None = None,
    trust_models: bool = False,
    progress: Progress | None = None,
) -> BenchResult:
    """Run every cell of a benchmark that is not finished, and write rows, tables and plot.

    All cells of one data set, network and seed start from the same ERM network and the same clusters.

    Args:
        matrix: The benchmark.
        out: Folder of the benchmark. A later call with the same settings resumes it. On a cluster, all machines have
            to see the folder under this path.
        workers: Processes that run the cells; ``None`` for one process per core of this machine.
        trust_models: Whether networks of the form ``module:function`` may be built, which runs their code.
        progress: Where progress is reported.

    Returns:
        The rows and the failures.

    Raises:
        PruscError: If the matrix is invalid, or the data of finished cells changed; nothing has run then.
    """
    out, workers, progress = Path(out).absolute(), workers or Workers(), progress or SilentProgress()
    cells = matrix.cells()
    check_cells(cells, out, trust_models=trust_models)
    for note in check_same_data(cells, out):
        progress.log(note)
    write_file(out / MATRIX, tomli_w.dumps(matrix_to_dict(matrix)).encode())
    failed = _run_cells(cells, out, workers, progress)
    rows = read_rows(cells, out)
    return BenchResult(rows, failed, write_output(rows, out))


def _run_cells(cells: Sequence[Cell], out: Path, workers: Workers, progress: Progress) -> tuple[tuple[Cell, str], ...]:
    """Run the missing shared runs, then the unfinished cells whose shared run succeeded."""
    unfinished = {task.path: cell for cell in cells for task in [cell_task(cell, out)] if not is_done(task)}
    progress.log(f"{len(cells)} cells, {len(cells) - len(unfinished)} already finished")
    originals = {task.path: task for cell in unfinished.values() for task in [original_task(cell, out)]}
    missing = [task for task in originals.values() if not is_done(task)]
    clock = _Clock(len(unfinished), len(missing), progress)
    errors: dict[Path, str] = {}
    for task, error in workers.run(run_task, missing):
        clock.log(f"the shared ERM of {task.path.relative_to(out)}", error)
        if error is not None:
            errors[task.path] = error
    failed: list[tuple[Cell, str]] = []
    tasks: list[Task] = []
    for cell in unfinished.values():
        error = errors.get(out / cell.original_path)
        if error is None:
            tasks.append(cell_task(cell, out))
        else:
            failed.append((cell, record_error(cell_task(cell, out), f"the shared ERM failed: {error}")))
    clock.total -= len(failed)
    for task, error in workers.run(run_task, tasks):
        cell = unfinished[task.path]
        if error is not None:
            # A dead worker could not write its error.
            failed.append((cell, record_error(task, error)) if not _has_error(task) else (cell, error))
        else:
            # Tables are written after each cell, so that the page also works for a running or killed benchmark.
            write_tables(read_rows(cells, out), out)
        clock.log(_describe(cell, out) if error is None else str(cell), error)
    return tuple(failed)


def _has_error(task: Task) -> bool:
    return (task.path / "error.json").is_file()


def _describe(cell: Cell, out: Path) -> str:
    row = read_row(cell, out)
    return (
        f"{cell}: average {100 * row['average_accuracy']:.1f} %, worst group {100 * row['worst_group_accuracy']:.1f} % "
        f"({100 * row['ci95_low']:.1f} to {100 * row['ci95_high']:.1f})"
    )


class _Clock:
    """Reports after each run the count and the remaining time, estimated from the mean time of this call."""

    def __init__(self, num_cells: int, num_originals: int, progress: Progress) -> None:
        self.total = num_cells + num_originals
        self.progress = progress
        self.done = 0
        self.begin = time.monotonic()
        progress.advance("cells", 0, max(self.total, 1))

    def log(self, what: str, error: str | None) -> None:
        self.done += 1
        seconds = (time.monotonic() - self.begin) / self.done * (self.total - self.done)
        outcome = what if error is None else f"FAILED {what}: {error}"
        left = f"; about {_duration(seconds)} left" if self.done < self.total else ""
        self.progress.log(f"[{self.done}/{self.total}] {outcome}{left}")
        self.progress.advance("cells", self.done, self.total)


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
