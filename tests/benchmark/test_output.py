"""The files of a benchmark."""

from pathlib import Path

import pandas as pd
import pytest

from prusc.benchmark import output
from prusc.benchmark.output import write_output, write_tables
from prusc.benchmark.rows import COLUMNS
from tests.benchmark.rows import make_rows


def test_the_same_rows_give_the_same_files(tmp_path) -> None:
    for name in ("a", "b"):
        assert write_output(make_rows(), tmp_path / name) == ()
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == ["plot.svg", "rows.csv", "rows.parquet", "table.csv", "table.md", "table.tex"]
    for file in set(files) - {"rows.parquet"}:
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert pd.read_parquet(tmp_path / "a" / "rows.parquet").shape == make_rows().shape


def test_the_tables_alone_are_what_a_page_is_made_from(tmp_path: Path) -> None:
    write_tables(make_rows(), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "table.csv", "table.md", "table.tex"]
    rows = pd.read_csv(tmp_path / "rows.csv")
    pd.testing.assert_series_equal(rows["cost"], make_rows()["cost"], rtol=1e-5)


def test_a_package_that_is_missing_is_named_and_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "find_spec", lambda name: None)
    assert write_output(make_rows(), tmp_path) == (
        "rows.parquet needs pyarrow: pip install 'prusc[parquet]'",
        "plot.svg needs matplotlib: pip install 'prusc[figures]'",
    )
    assert sorted(path.name for path in tmp_path.iterdir()) == ["rows.csv", "table.csv", "table.md", "table.tex"]


def test_no_rows_give_tables_without_lines_and_no_plot(tmp_path: Path) -> None:
    assert write_output(pd.DataFrame(columns=list(COLUMNS)), tmp_path) == ()
    assert not (tmp_path / "plot.svg").exists()
    assert (tmp_path / "table.md").read_text() == "No cell is finished.\n"
    assert (tmp_path / "rows.csv").read_text().strip() == ",".join(COLUMNS)
