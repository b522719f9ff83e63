"""Apply the remedy that the settings name."""

from pathlib import Path

from torch import nn

from prusc.config import RunConfig
from prusc.data import Data
from prusc.engine.progress import ProgressOption
from prusc.methods.method import MethodResult
from prusc.methods.registry import find_method
from prusc.report import with_report
from prusc.runs.session import open_session


def apply_method(
    model: nn.Module | None = None,
    data: Data | None = None,
    config: RunConfig | None = None,
    *,
    out: Path | str | None = None,
    force: bool = False,
    progress: ProgressOption = None,
) -> MethodResult:
    """Apply the remedy that ``config.method`` names; the arguments are those of :func:`prusc.debias`.

    Returns:
        The network of the chosen setting and everything about it.

    Raises:
        PruscError: If settings, data, network or run folder are not as they have to be, or the remedy needs group
            labels that the data do not have.
    """
    config = config or RunConfig()
    method = find_method(config.method)
    method.settings_to_try(config)  # Wrong options are an error before anything is loaded.
    session = open_session(model, data, config, out=out, force=force, progress=progress, check=method.check_groups)
    return method.apply(session)


run_method = with_report(apply_method)
"""As `apply_method`; it also writes the report into the run folder."""
