"""Write what a report consists of, into the run folder."""

from collections.abc import Sequence
from pathlib import Path

from prusc.errors import ConfigError, RunFolderError
from prusc.report.comparison import render_comparison
from prusc.report.figures import draw_figures
from prusc.report.model_card import make_model_card
from prusc.report.record import read_run
from prusc.report.run_page import render_run
from prusc.report.sample_map import MapKind
from prusc.run_folder import write_file

REPORT, MODEL_CARD = "report.html", "model-card.md"


def write_report(path: Path | str, *, figures: bool = False, map_kind: MapKind = "pca") -> tuple[str, ...]:
    """Write ``report.html`` into a run folder and, if the run is finished, ``model-card.md``.

    Nothing is read but the folder, and of the networks in it nothing at all.

    Args:
        path: A run folder, finished or not.
        figures: Also write the figures as PNG and SVG into ``figures/``.
        map_kind: How the map of the representations is made: ``pca`` or ``tsne``.

    Returns:
        What was missing, a line for each thing.

    Raises:
        ConfigError: If figures are asked for and matplotlib is not installed.
        RunFolderError: If it is no run folder, is damaged, of a newer format, or cannot be written.
    """
    run = read_run(Path(path))
    drawn = draw_figures(run, map_kind) if figures else {}
    page = render_run(run, map_kind=map_kind)
    write_file(run.path / REPORT, page.encode("utf-8", "replace"))
    if run.is_finished:
        write_file(run.path / MODEL_CARD, make_model_card(run).encode("utf-8", "replace"))
    for name, content in drawn.items():
        write_file(run.path / "figures" / name, content)
    return run.missing


def try_report(path: Path | str) -> str | None:
    """Write the report of a run that has just come to its end, whose result nothing here may spoil.

    Args:
        path: The run folder.

    Returns:
        Why there is no report, in one line; ``None`` if there is one.
    """
    try:
        write_report(path)
    except Exception as error:  # noqa: BLE001 -- whatever it is, the run is finished and its figures are written
        reason = " ".join(str(error).split()) or type(error).__name__
        return f"{reason} (the run is finished; prusc report {path} tries again)"
    return None


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
