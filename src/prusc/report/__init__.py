"""Reports of runs and audits, comparison pages, figures and model cards, made from run folders alone."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from prusc.report.after_run import try_report as try_report
from prusc.report.after_run import with_report as with_report

if TYPE_CHECKING:
    from prusc.report.write import compare_runs as compare_runs
    from prusc.report.write import write_report as write_report


def __getattr__(name: str) -> Any:
    """Import the writers of pages when they are used, because they need Plotly, Jinja and scikit-learn."""
    if name in ("compare_runs", "write_report"):
        return getattr(import_module("prusc.report.write"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
