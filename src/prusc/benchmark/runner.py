"""Run a benchmark: the shared ERM networks first, then every cell; what is finished is not run again."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import tomli_w

from prusc.benchmark.backends import Workers
from prusc.benchmark.checks import check_cells
from prusc.benchmark.matrix import Cell, Matrix, matrix_to_dict
from prusc.benchmark.output import write_output, write_tables
from prusc.benchmark.rows import read_row, read_rows
from prusc.benchmark.work import Task, cell_task, is_done, original_task, record_error, run_task
from prusc.engine.progress import Progress, SilentProgress
from prusc.runs.folder import write_file

MATRIX = "bench.toml"


@dataclass(frozen=True, eq=False)
class BenchResult:
    """What a benchmark gives back.

    Attributes:
        rows: One row per finished cell, see `prusc.benchmark.rows`.
        failed: The cells that failed, with their errors in one line.
        missing: What could not be written, and why.
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

    All cells of one data set, network and seed begin with the same ERM network and the same clusters.

    Args:
        matrix: What to run.
        out: Folder of the benchmark; what an earlier call with the same settings left there is gone on with. On a
            cluster, a folder that all its machines see under this name.
        workers: Who runs the cells; processes of this machine, one a core, if ``None``.
        trust_models: Whether networks of the form ``module:function`` may be built, which runs their code.
        progress: Whom to tell.

    Returns:
        The rows and the failures.

    Raises:
        PruscError: If anything about the matrix is wrong; nothing has been run then.
    """
    out, workers, progress = Path(out).absolute(), workers or Workers(), progress or SilentProgress()
    cells = matrix.cells()
    check_cells(cells, out, trust_models=trust_models)
    write_file(out / MATRIX, tomli_w.dumps(matrix_to_dict(matrix)).encode())
    failed = _run_cells(cells, out, workers, progress)
    rows = read_rows(cells, out)
    return BenchResult(rows, failed, write_output(rows, out))


def _run_cells(cells: Sequence[Cell], out: Path, workers: Workers, progress: Progress) -> tuple[tuple[Cell, str], ...]:
    """Run the originals that are missing, then the cells whose original is there."""
    unfinished = {task.path: cell for cell in cells for task in [cell_task(cell, out)] if not is_done(task)}
    progress.log(f"{len(cells)} cells, {len(cells) - len(unfinished)} finished before")
    originals = {task.path: task for cell in unfinished.values() for task in [original_task(cell, out)]}
    missing = [task for task in originals.values() if not is_done(task)]
    clock = _Clock(len(unfinished), len(missing), progress)
    errors: dict[Path, str] = {}
    for task, error in workers.run(run_task, missing):
        clock.tell(f"the shared ERM of {task.path.relative_to(out)}", error)
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
            # Once more: a worker that died could not write it.
            failed.append((cell, record_error(task, error)) if not _has_error(task) else (cell, error))
        else:
            # So that the page of a benchmark shows what is there while it runs, and after it was killed.
            write_tables(read_rows(cells, out), out)
        clock.tell(_describe(cell, out) if error is None else str(cell), error)
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
    """Tells after each run how many are done and how long the rest may take, by the mean of those done in this call."""

    def __init__(self, num_cells: int, num_originals: int, progress: Progress) -> None:
        self.total = num_cells + num_originals
        self.progress = progress
        self.done = 0
        self.begin = time.monotonic()
        progress.advance("cells", 0, max(self.total, 1))

    def tell(self, what: str, error: str | None) -> None:
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
