"""Everything that can be wrong with a benchmark, found before the first cell runs."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from prusc.benchmark.matrix import Cell
from prusc.config import RunConfig, is_function_name
from prusc.data import Data
from prusc.errors import ConfigError, PruscError
from prusc.methods import find_method
from prusc.runs.folder import RunFolder
from prusc.runs.session import open_session


def check_cells(cells: Sequence[Cell], out: Path, *, trust_models: bool = False) -> None:
    """Check folders, networks and data of a benchmark.

    Data and networks are looked at where a cell is still to run: each is loaded once, the images of a folder or table
    not at all.

    Args:
        cells: All of them.
        out: The folder of the benchmark.
        trust_models: Whether networks of the form ``module:function`` may be built, which runs their code.

    Raises:
        ConfigError: If something is not as it has to be.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; name a folder for the benchmark with --out")
    for cell in cells:
        _check_folder(out / cell.path, cell.config)
        _check_folder(out / cell.original_path, cell.original.config)
        if is_function_name(cell.config.model) and not trust_models:
            raise ConfigError(
                f"network {cell.network} names the model {cell.config.model!r}, whose code would be run; if you trust "
                "it, say so with --trust-models"
            )
    unfinished = [cell for cell in cells if not RunFolder(out / cell.path).is_finished]
    for own in _by_inputs(unfinished):
        _check_inputs(own)


def _check_folder(path: Path, config: RunConfig) -> None:
    """Refuse the folder of a run with other settings, whose figures would pass for those asked for."""
    folder = RunFolder(path)
    if path.is_dir() and any(path.iterdir()):
        folder.check_settings(config)


def _by_inputs(cells: Iterable[Cell]) -> list[list[Cell]]:
    groups: dict[tuple[str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.data, cell.network), []).append(cell)
    return list(groups.values())


def _check_inputs(cells: Sequence[Cell]) -> None:
    """Open a run of cells that differ in method and seed only, without a folder, and ask whether the methods suit."""
    first = cells[0]
    options = replace(first.config.data_options, memory_limit_gib=0)

    def check(data: Data) -> None:
        for method in dict.fromkeys(cell.method for cell in cells):
            find_method(method).check_groups(data)

    try:
        for cell in cells:
            find_method(cell.method).settings_to_try(cell.config)
        config = replace(first.config, data_options=options)
        open_session(None, None, config, out=None, force=False, progress=None, check=check)
    except PruscError as error:
        raise ConfigError(f"data {first.data} with network {first.network}: {error}") from error
