"""Write what a report consists of, into the run folder."""

import warnings
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from prusc.engine.runtime import is_main_process
from prusc.errors import ConfigError, RunFolderError
from prusc.report.audit_page import render_audit
from prusc.report.bench_page import is_bench, render_bench
from prusc.report.comparison import render_comparison
from prusc.report.figures import draw_figures
from prusc.report.model_card import make_model_card
from prusc.report.reading.run import read_run
from prusc.report.run_page import render_run
from prusc.report.sample_map import MapKind
from prusc.runs.folder import write_file

TaskP = ParamSpec("TaskP")
ResultT = TypeVar("ResultT")

REPORT, MODEL_CARD = "report.html", "model-card.md"


def write_report(path: Path | str, *, figures: bool = False, map_kind: MapKind = "pca") -> tuple[str, ...]:
    """Write ``report.html`` into the folder of a run or an audit and, if it is a finished run, ``model-card.md``.

    Nothing is read but the folder, and of the networks in it nothing at all.

    Args:
        path: The folder of a run, finished or not, of an audit, or of a benchmark.
        figures: Also write the figures as PNG and SVG into ``figures/``.
        map_kind: How the map of the representations is made: ``pca`` or ``tsne``.

    Returns:
        What was missing, a line for each thing.

    Raises:
        ConfigError: If figures are asked for and matplotlib is not installed.
        RunFolderError: If it is no run folder, is damaged, of a newer format, or cannot be written.
    """
    if is_bench(Path(path)):
        write_file(Path(path) / REPORT, render_bench(Path(path)).encode("utf-8", "replace"))
        return ()
    run = read_run(Path(path))
    drawn = draw_figures(run, map_kind) if figures else {}
    page = render_audit(run, map_kind=map_kind) if run.is_audit else render_run(run, map_kind=map_kind)
    write_file(run.path / REPORT, page.encode("utf-8", "replace"))
    if run.is_finished:
        write_file(run.path / MODEL_CARD, make_model_card(run).encode("utf-8", "replace"))
    for name, content in drawn.items():
        write_file(run.path / "figures" / name, content)
    return run.missing


def try_report(path: Path | str) -> str | None:
    """Write the report of a run or an audit that has just come to its end, whose result nothing here may spoil.

    Args:
        path: The run folder.

    Returns:
        Why there is no report, in one line; ``None`` if there is one.
    """
    try:
        write_report(path)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the work is done and its figures are written
        reason = " ".join(str(error).split()) or type(error).__name__
        return f"{reason} (all the rest is done; prusc report {path} tries again)"
    return None


def with_report(task: Callable[TaskP, ResultT]) -> Callable[TaskP, ResultT]:
    """Return a run or an audit that also writes the report at its end, where it has a run folder.

    Args:
        task: Takes the folder as ``out``, by name.

    Returns:
        The same function otherwise. A report that cannot be written is a warning.
    """

    @wraps(task)
    def task_and_report(*args: TaskP.args, **kwargs: TaskP.kwargs) -> ResultT:
        result = task(*args, **kwargs)
        out = kwargs.get("out")
        if isinstance(out, Path | str) and is_main_process():
            problem = try_report(out)
            if problem is not None:
                warnings.warn(f"no report: {problem}", stacklevel=2)
        return result

    return task_and_report


def compare_runs(paths: Sequence[Path | str], out: Path | str) -> None:
    """Write a page that shows runs side by side.

    Args:
        paths: At least two folders of finished runs.
        out: The page.

    Raises:
        ConfigError: If there are fewer than two different folders.
        RunFolderError: If one is no folder of a finished run, or the page cannot be written.
    """
    folders = list(dict.fromkeys(Path(path) for path in paths))
    if len(folders) < 2:
        raise ConfigError(f"to compare takes at least two different run folders; found {len(folders)}")
    runs = [read_run(folder) for folder in folders]
    for run in runs:
        if not run.is_finished:
            raise RunFolderError(f"run folder {run.path} holds an unfinished run; finish it first, or leave it out")
    page_path = Path(out)
    if page_path.is_dir():
        raise RunFolderError(f"{page_path} is a folder; name a file for the page with --out")
    write_file(page_path, render_comparison(runs, page_path).encode("utf-8", "replace"))
