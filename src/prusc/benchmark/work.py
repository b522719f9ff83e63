"""The work of one worker: a run whose error is recorded instead of raised."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from prusc.benchmark.matrix import Cell
from prusc.config import RunConfig
from prusc.errors import PruscError
from prusc.methods import apply_method
from prusc.runs.folder import RunFolder
from prusc.runs.session import open_session
from prusc.runs.start import begin_from, has_start, start_run

ERROR = "error.json"


@dataclass(frozen=True)
class Task:
    """A run, in plain values that can be sent to any process.

    Attributes:
        config: All settings.
        path: Its run folder.
        original: Run folder with the ERM network and clusters to start from; ``None`` for a run that only makes these.
    """

    config: RunConfig
    path: Path
    original: Path | None


def original_task(cell: Cell, out: Path) -> Task:
    """Return the run that makes the ERM network and the clusters that a cell shares with others."""
    return Task(cell.original.config, out / cell.original_path, None)


def cell_task(cell: Cell, out: Path) -> Task:
    """Return the run of a cell."""
    return Task(cell.config, out / cell.path, out / cell.original_path)


def is_done(task: Task) -> bool:
    """Return whether a run is finished."""
    folder = RunFolder(task.path)
    return has_start(folder) if task.original is None else folder.is_finished


def run_task(task: Task, num_threads: int) -> str | None:
    """Run or resume one run.

    A finished run is skipped, because its worker may have died before it could report the end.

    Args:
        task: The run.
        num_threads: Number of threads of PyTorch.

    Returns:
        The error in one line, which is also written to ``error.json``; ``None`` if the run is finished.
    """
    folder = RunFolder(task.path)
    if is_done(task):
        return None
    (task.path / ERROR).unlink(missing_ok=True)
    try:
        with limited_threads(num_threads):
            if task.original is None:
                start_run(open_session(None, None, task.config, out=task.path, force=False, progress=None))
            else:
                begin_from(RunFolder(task.original), folder, task.config)
                apply_method(config=task.config, out=task.path)
    except Exception as error:  # noqa: BLE001 -- an error of one cell must not stop the others
        return record_error(task, describe_error(error), traceback.format_exc())
    return None


def record_error(task: Task, error: str, details: str = "") -> str:
    """Write the error of a run into its folder, and return the error."""
    folder = RunFolder(task.path)
    if not folder.has("config.toml"):
        # Without settings, a resumed benchmark would refuse the folder as foreign.
        folder.open(task.config, force=False)
    folder.write_json(ERROR, {"error": error, "details": details})
    return error


def describe_error(error: BaseException) -> str:
    """Return an error in one line, with its class unless prusc raised it."""
    text = " ".join(str(error).split())
    if isinstance(error, PruscError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def limited_threads(num_threads: int) -> Iterator[None]:
    """Set the number of threads of PyTorch, and restore it afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
