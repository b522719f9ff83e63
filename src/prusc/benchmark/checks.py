"""Checks of a benchmark before its first cell runs."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from prusc.benchmark.matrix import Cell
from prusc.config import RunConfig, is_function_name
from prusc.data import Data
from prusc.engine.progress import SilentProgress
from prusc.errors import ConfigError, PruscError, RunFolderError
from prusc.methods import find_method
from prusc.runs.folder import RunFolder
from prusc.runs.inputs import load_run_data
from prusc.runs.made_from import compare_made_from, knows_made_from
from prusc.runs.session import open_session


def check_cells(cells: Sequence[Cell], out: Path, *, trust_models: bool = False) -> None:
    """Check the folders, networks and data of a benchmark.

    Data and networks are checked only for cells that are not finished. Each is loaded once; the images of a folder or
    table are not loaded.

    Args:
        cells: All cells of the benchmark.
        out: Folder of the benchmark.
        trust_models: Whether networks of the form ``module:function`` may be built, which runs their code.

    Raises:
        ConfigError: If the folder, a network or data cannot be used.
        RunFolderError: If the run folder of a cell holds a run with other settings.
    """
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file; name a folder for the benchmark with --out")
    for cell in cells:
        _check_folder(out / cell.path, cell.config)
        _check_folder(out / cell.original_path, cell.original.config)
        if is_function_name(cell.config.model) and not trust_models:
            raise ConfigError(
                f"network {cell.network} uses the model {cell.config.model!r}, whose code prusc would run; if you "
                "trust it, add --trust-models"
            )
    unfinished = [cell for cell in cells if not RunFolder(out / cell.path).is_finished]
    for own in _by_inputs(unfinished):
        _check_inputs(own)


def check_same_data(cells: Sequence[Cell], out: Path) -> list[str]:
    """Refuse to go on with a benchmark if its data changed, because a table would then mix results on different data.

    Data are compared where cells are to be run; one run of each data set stands for the others.

    Args:
        cells: All cells of the benchmark.
        out: Folder of the benchmark.

    Returns:
        Lines for the log about image files that were written anew.

    Raises:
        RunFolderError: If samples, labels, splits, classes, pixels, the normalisation or a named file changed.
    """
    going_on = {cell.data for cell in cells if not RunFolder(out / cell.path).is_finished}
    compared: dict[str, tuple[Cell, RunFolder]] = {}
    for cell in cells:
        for path, config in ((cell.path, cell.config), (cell.original_path, cell.original.config)):
            folder = RunFolder(out / path)
            if cell.data in going_on and knows_made_from(folder) and cell.data not in compared:
                compared[cell.data] = replace(cell, config=config), folder
    notes = []
    for name, (cell, folder) in compared.items():
        data = load_run_data(cell.config, SilentProgress())
        changes, rewritten = compare_made_from(folder, data, cell.config)
        if changes:
            raise RunFolderError(
                f"benchmark {out} holds results on other data than {name} has now ({'; '.join(changes[:4])}); name "
                f"another folder with --out, or delete {folder.path.parents[2]}"
            )
        if rewritten:
            notes.append(
                f"data {name}: image files of {', '.join(rewritten)} were written anew since {folder.path} was run; if "
                "their images are others now, name another folder with --out"
            )
    return notes


def _check_folder(path: Path, config: RunConfig) -> None:
    """Refuse the folder of a run with other settings, because its results would be mistaken for those of the cell."""
    folder = RunFolder(path)
    if path.is_dir() and any(path.iterdir()):
        folder.check_settings(config)


def _by_inputs(cells: Iterable[Cell]) -> list[list[Cell]]:
    groups: dict[tuple[str, str, str], list[Cell]] = {}
    for cell in cells:
        groups.setdefault((cell.data, cell.network, cell.variant if cell.has_own_original else ""), []).append(cell)
    return list(groups.values())


def _check_inputs(cells: Sequence[Cell]) -> None:
    """Open, without a folder, the run of cells that differ only in method and seed, and check their methods."""
    first = cells[0]
    options = replace(first.config.data_options, memory_limit_gib=0)

    def check(data: Data) -> None:
        for method in dict.fromkeys(cell.method for cell in cells):
            find_method(method).check_groups(data)

    try:
        for cell in cells:
            find_method(cell.method).read_options(cell.config)
        config = replace(first.config, data_options=options)
        open_session(None, None, config, out=None, force=False, progress=None, check=check)
    except PruscError as error:
        raise ConfigError(f"data {first.data} with network {first.network}: {error}") from error
