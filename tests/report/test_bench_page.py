"""The page of a benchmark, and the report of another remedy's run."""

import json
from pathlib import Path

import pandas as pd
import pytest

from prusc.benchmark.output import write_tables
from prusc.cli.main import run_command_line
from prusc.errors import RunFolderError
from prusc.report import write_report


def test_the_page_shows_methods_groups_and_failures_and_links_to_the_runs(bench: Path) -> None:
    broken = bench / "birds/small-cnn/jtt/seed-0"
    broken.mkdir(parents=True)
    (broken / "error.json").write_text(json.dumps({"error": "no <b>luck</b>"}))
    assert run_command_line(["report", str(bench)]) == 0
    page = (bench / "report.html").read_text()
    assert "birds/small-cnn/jtt/seed-0</bdi>: no &lt;b&gt;luck&lt;/b&gt;" in page
    assert 'href="./birds/small-cnn/group-dro/seed-0/"' in page
    assert page.count("<h3>Groups: ") == 3
    assert "waterbird, place land" in page
    assert "pseudo-groups" in page
    # With a report of its own, a run is linked to that.
    write_report(bench / "birds/small-cnn/group-dro/seed-0")
    write_report(bench)
    assert 'href="./birds/small-cnn/group-dro/seed-0/report.html"' in (bench / "report.html").read_text()


def test_rows_lead_nowhere_but_into_the_folder(shared_bench: Path, tmp_path: Path) -> None:
    rows = pd.read_csv(shared_bench / "rows.csv")
    rows["folder"] = ["../../../etc", "javascript:alert(1)"] * 3
    rows.to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "table.csv").write_bytes((shared_bench / "table.csv").read_bytes())
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert 'href="./etc/"' in page
    assert 'href="./javascript:alert(1)/"' in page
    assert "The run folders no longer exist." in page


def test_several_data_sets_have_their_mean_first(shared_bench: Path, tmp_path: Path) -> None:
    # Groups of the tiny benchmark are too small for their worst one to be shown.
    rows = pd.read_csv(shared_bench / "rows.csv").assign(num_samples_smallest_group=50)
    one, two = (
        rows.assign(data=name, worst_group_accuracy=worst) for name, worst in (("birds", 0.125), ("moles", 0.25))
    )
    write_tables(pd.concat([one, two]), tmp_path)
    write_report(tmp_path)
    page = (tmp_path / "report.html").read_text()
    assert page.index("Mean over 2 data sets") < page.index('data-value="0.1875"') < page.index('id="panel-0"')


def test_rows_that_are_damaged_are_named(tmp_path: Path) -> None:
    for name in ("rows.csv", "table.csv"):
        (tmp_path / name).write_text("data,network\na,b\n")
    with pytest.raises(RunFolderError, match="is not as prusc bench writes it"):
        write_report(tmp_path)


def test_a_run_of_another_remedy_has_a_report_and_a_model_card(bench: Path) -> None:
    folder = bench / "birds/small-cnn/group-dro/seed-0"
    assert write_report(folder, figures=True) == ()
    page, card = (folder / "report.html").read_text(), (folder / "model-card.md").read_text()
    assert "GroupDRO: on the test split" in page
    assert "This method has a single setting" in page
    assert 'id="mask"' not in page
    assert "were read by the remedy, on the training and the validation split, and the evaluation only." in page
    assert "small-cnn, after GroupDRO" in card
    assert "the only setting" in card
    assert (folder / "figures" / "groups.svg").is_file()
    # ERM is its own before and after.
    assert write_report(bench / "birds/small-cnn/erm/seed-0") == ()
