"""The page of the docs: made from rows alone."""

import importlib.util
from pathlib import Path

import pandas as pd
import pytest

from prusc.benchmark.output import write_output
from tests.benchmark.rows import make_rows

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "make_benchmark.py"


def test_rows_are_taken_in_once_and_the_page_follows_from_them(tmp_path: Path) -> None:
    specification = importlib.util.spec_from_file_location("make_benchmark", SCRIPT)
    assert specification is not None
    assert specification.loader is not None
    script = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(script)
    with pytest.raises(SystemExit):
        script.main([], root=tmp_path)
    write_output(make_rows(3), tmp_path / "three")
    write_output(make_rows(2, data=("birds",)), tmp_path / "two")
    script.main([str(tmp_path / "three")], root=tmp_path)
    script.main([str(tmp_path / "two")], root=tmp_path)
    rows = pd.read_csv(tmp_path / "docs/data/benchmark.csv")
    assert rows.groupby("data").seed.nunique().to_dict() == {"birds": 2, "faces_100%": 3}
    page = (tmp_path / "docs/results/benchmark.md").read_text()
    assert "## birds, net\n\nChosen by: pseudo-groups." in page
    assert "Figures of an earlier version" in page, "the rows name no version"
    # Of three seeds the birds have two by now; PruSC is not compared with itself.
    [comparison] = [part for part in page.split("### ") if part.startswith("PruSC against")]
    worst = rows.pivot_table("worst_group_accuracy", "seed", ["method", "data"])
    first = 100 * (worst["prusc"] - worst["erm"]).loc[0].mean()
    assert f"{first:+.1f} (0)" in comparison
    assert "(1)" in comparison
    assert "(2)" not in comparison
    assert "| PRUSC |" not in comparison
    script.main([], root=tmp_path)
    assert (tmp_path / "docs/results/benchmark.md").read_text() == page
    assert "Figures of an earlier version" not in script.make_page(rows.assign(version="0.1.0"))
