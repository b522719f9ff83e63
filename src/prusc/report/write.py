"""Writing of reports, model cards, figures and comparison pages."""

from collections.abc import Sequence
from pathlib import Path

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


def compare_runs(paths: Sequence[Path | str], out: Path | str) -> None:
    """Write a page that compares runs and audits.

    Args:
        paths: Folders of finished runs or audits, at least two different ones.
        out: Path of the page.

    Raises:
        ConfigError: If there are fewer than two different folders.
        RunFolderError: If a folder holds neither a finished run nor an audit, or the page cannot be written.
    """
    folders = list(dict.fromkeys(Path(path) for path in paths))
    if len(folders) < 2:
        raise ConfigError(f"a comparison needs at least two different run folders; found {len(folders)}")
    runs = [read_run(folder) for folder in folders]
    for run in runs:
        if not run.is_finished and not run.is_audit:
            raise RunFolderError(f"run folder {run.path} holds an unfinished run; finish it first, or leave it out")
    page_path = Path(out)
    if page_path.is_dir():
        raise RunFolderError(f"{page_path} is a folder; name a file for the page with --out")
    write_file(page_path, render_comparison(runs, page_path).encode("utf-8", "replace"))
