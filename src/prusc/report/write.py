"""Writing of reports, model cards, figures and comparison pages."""

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
    """Write ``report.html`` into the folder of a run, an audit or a benchmark.

    A finished run also gets ``model-card.md``. The function reads only this folder, and loads no network.

    Args:
        path: Folder of a run (finished or not), an audit or a benchmark.
        figures: Whether to also write figures as PNG and SVG into ``figures/``.
        map_kind: Projection of the map of the representations: ``pca`` or ``tsne``.

    Returns:
        One line per missing file, with what the report therefore lacks.

    Raises:
        ConfigError: If ``figures`` is set and matplotlib is not installed.
        RunFolderError: If the folder is no run folder, is damaged, has a newer format, or cannot be written.
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
    """Write the report of a run or an audit, and return the error instead of raising it.

    The run has just finished, so a failed report must not lose its result.

    Args:
        path: The run folder.

    Returns:
        The error in one line; ``None`` if the report was written.
    """
    try:
        write_report(path)
    except Exception as error:  # noqa: BLE001 -- the run is done and its results are written
        reason = " ".join(str(error).split()) or type(error).__name__
        return f"{reason} (the run itself is complete; prusc report {path} tries again)"
    return None


def with_report(task: Callable[TaskP, ResultT]) -> Callable[TaskP, ResultT]:
    """Make a task write its report at its end, if it has a run folder.

    Args:
        task: Runs or audits; takes the run folder as keyword argument ``out``.

    Returns:
        A function with the signature of ``task``. It warns if the report cannot be written.
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
    """Write a page that compares runs.

    Args:
        paths: Folders of finished runs, at least two different ones.
        out: Path of the page.

    Raises:
        ConfigError: If there are fewer than two different folders.
        RunFolderError: If a folder holds no finished run, or the page cannot be written.
    """
    folders = list(dict.fromkeys(Path(path) for path in paths))
    if len(folders) < 2:
        raise ConfigError(f"a comparison needs at least two different run folders; found {len(folders)}")
    runs = [read_run(folder) for folder in folders]
    for run in runs:
        if not run.is_finished:
            raise RunFolderError(f"run folder {run.path} holds an unfinished run; finish it first, or leave it out")
    page_path = Path(out)
    if page_path.is_dir():
        raise RunFolderError(f"{page_path} is a folder; name a file for the page with --out")
    write_file(page_path, render_comparison(runs, page_path).encode("utf-8", "replace"))
