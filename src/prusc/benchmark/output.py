"""Output files of a benchmark: rows, tables and a plot."""

import io
from importlib.util import find_spec
from pathlib import Path

import pandas as pd

from prusc.benchmark.plot import draw_plot
from prusc.benchmark.summary import average_over_panels, panels_table, summarise_rows
from prusc.benchmark.tables import latex_tables, markdown_tables
from prusc.runs.folder import write_file

ROWS = "rows.csv"
# Six significant digits make the files of two runs of the same cells equal.
FLOAT_FORMAT = "%.6g"


def write_tables(rows: pd.DataFrame, out: Path) -> None:
    """Write ``rows.csv`` and the tables, from which the page of the benchmark is made.

    Args:
        rows: Rows from `prusc.benchmark.rows.read_rows`.
        out: Folder of the benchmark.
    """
    panels = (*average_over_panels(rows), *summarise_rows(rows))
    files = {
        ROWS: rows.to_csv(index=False, float_format=FLOAT_FORMAT).encode(),
        "table.csv": panels_table(panels).to_csv(index=False, float_format=FLOAT_FORMAT).encode(),
        "table.md": markdown_tables(panels).encode(),
        "table.tex": latex_tables(panels).encode(),
    }
    for name, content in files.items():
        write_file(out / name, content)


def write_output(rows: pd.DataFrame, out: Path) -> tuple[str, ...]:
    """Write the files of `write_tables`, and ``rows.parquet`` and ``plot.svg`` if their packages are installed.

    Args:
        rows: Rows from `prusc.benchmark.rows.read_rows`.
        out: Folder of the benchmark.

    Returns:
        One line per file that could not be written.
    """
    write_tables(rows, out)
    panels = summarise_rows(rows)
    files = {}
    missing = []
    if find_spec("pyarrow") is None:
        missing.append("rows.parquet needs pyarrow: pip install 'prusc[parquet]'")
    else:
        content = io.BytesIO()
        rows.to_parquet(content, index=False)
        files["rows.parquet"] = content.getvalue()
    if find_spec("matplotlib") is None:
        missing.append("plot.svg needs matplotlib: pip install 'prusc[figures]'")
    elif panels:
        files["plot.svg"] = draw_plot(panels)
    for name, content_of in files.items():
        write_file(out / name, content_of)
    return tuple(missing)
