"""The files that a run keeps of its samples, by name."""

from pathlib import Path

from prusc.runs.samples.files import ABOUT, ATTENTION, FOLDER, MAP, REGIONS, TABLE


def test_a_run_leaves_these_files_and_its_sheets(shared_striped_run: Path) -> None:
    found = {path.relative_to(shared_striped_run).as_posix() for path in (shared_striped_run / FOLDER).rglob("*")}
    sheets = {"samples/thumbnails-000.webp", "samples/pictures-000.webp"}
    assert found == {ABOUT, ATTENTION, MAP, TABLE, "samples/label_issues.csv", "samples/names.json"} | sheets
    # These data have no regions.
    assert REGIONS == "samples/regions.csv"
