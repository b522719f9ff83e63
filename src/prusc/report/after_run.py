"""Reports at the end of a run; whatever goes wrong there is no error of the run.

Plotly, Jinja and scikit-learn are imported only when a report is written.
"""

import warnings
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import ParamSpec, TypeVar

from prusc.engine.process import is_main_process

TaskP = ParamSpec("TaskP")
ResultT = TypeVar("ResultT")


def try_report(path: Path | str) -> str | None:
    """Write the report of a run or an audit, and return the error instead of raising it.

    The run has just finished, so a failed report must not lose its result.

    Args:
        path: The run folder.

    Returns:
        The error in one line; ``None`` if the report was written.
    """
    try:
        from prusc.report.write import write_report

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
