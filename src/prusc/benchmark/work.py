"""What a worker does: one run, whose error is recorded instead of raised."""

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
    """A run, in plain values that any process can be given.

    Attributes:
        config: Every setting.
        path: Its run folder.
        original: The run folder whose ERM network and clusters it begins with; ``None`` if it is to make them itself
            and go no further.
    """

    config: RunConfig
    path: Path
    original: Path | None


def original_task(cell: Cell, out: Path) -> Task:
    """Return the run that trains and clusters the network of a cell, for all cells that share it."""
    return Task(cell.original.config, out / cell.original_path, None)


def cell_task(cell: Cell, out: Path) -> Task:
    """Return the run of a cell."""
    return Task(cell.config, out / cell.path, out / cell.original_path)


def is_done(task: Task) -> bool:
    """Whether a run has come to its end."""
    folder = RunFolder(task.path)
    return has_start(folder) if task.original is None else folder.is_finished


def run_task(task: Task, num_threads: int) -> str | None:
    """Run, or go on with, one run.

    A run that is done is not done again: the worker that did it may have died before it could say so.

    Args:
        task: Which.
        num_threads: How many threads PyTorch may use.

    Returns:
        The error in one line, which is also in ``error.json``; ``None`` if the run came to its end.
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
    except Exception as error:  # noqa: BLE001 -- whatever it is, the other cells go on
        return record_error(task, describe_error(error), traceback.format_exc())
    return None


def record_error(task: Task, error: str, details: str = "") -> str:
    """Write why a run failed into its folder, and return it."""
    folder = RunFolder(task.path)
    if not folder.has("config.toml"):
        # Without settings the folder would be taken for somebody else's when the benchmark goes on.
        folder.open(task.config, force=False)
    folder.write_json(ERROR, {"error": error, "details": details})
    return error


def describe_error(error: BaseException) -> str:
    """Return an error in one line, with its class where the message is not one of ours."""
    text = " ".join(str(error).split())
    if isinstance(error, PruscError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


@contextmanager
def limited_threads(num_threads: int) -> Iterator[None]:
    """Let PyTorch use so many threads, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
