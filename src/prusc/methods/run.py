"""Apply the method that the settings name."""

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
    """Apply the method that ``config.method`` names; the arguments are those of `prusc.debias`.

    Returns:
        The chosen network, the ERM network and their figures.

    Raises:
        PruscError: If a setting, the data, the network or the run folder is not valid, or the group labels that the
            method needs are missing.
    """
    config = config or RunConfig()
    method = find_method(config.method)
    method.read_options(config)  # Reports wrong options before anything is loaded.
    session = open_session(model, data, config, out=out, force=force, progress=progress, check=method.check_groups)
    return method.apply(session)


run_method = with_report(apply_method)
"""Like `apply_method`, and write the report into the run folder."""
