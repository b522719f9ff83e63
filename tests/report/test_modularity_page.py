"""The page of masks of functions: every figure is that of the folder, and what it refuses."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from prusc.errors import RunFolderError
from prusc.report import write_report
from prusc.report.heat_maps import chart_heat_map
from prusc.report.reading.modularity import read_modularity
from tests.report.pages import HOSTILE, Page, report_of


@pytest.fixture
def functions(shared_functions: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(shared_functions, tmp_path / "functions"))


def test_every_part_is_there_and_the_figures_are_those_of_the_folder(shared_functions: Path) -> None:
    page = Page(shared_functions / "report.html")
    assert [f["id"] for tag, f in page.elements if tag == "section"] == [
        "functions",
        "accuracies",
        "overlaps",
        "removal",
        "made",
    ]
    record = read_modularity(shared_functions)
    assert record.removal is not None
    charts = json.loads(page.data)["charts"]
    assert set(charts) == {
        *("chart-accuracies", "chart-overlaps", "chart-different", "chart-same"),
        *(f"chart-removal-{index}" for index in range(3)),
    }
    for entry in record.accuracies.entries:
        low, high = entry.ci95
        assert f"{100 * entry.accuracy:.1f} % [{100 * low:.1f} to {100 * high:.1f}]" in " ".join(page.text.split())
    matrix = charts["chart-overlaps"]["data"][0]["z"]
    for row, first in enumerate(record.names):
        for column, second in enumerate(record.names):
            assert matrix[row][column] == record.between(first, second).iou
            assert (row == column) == (record.between(first, second) in record.stability)
    for entry in record.removal.removed:
        low, high = entry.drop_ci95
        assert f"{100 * entry.drop:.1f} % [{100 * low:.1f} to {100 * high:.1f}]".replace("[-", "[−") in " ".join(
            page.text.split()
        )
    words = " ".join(page.text.split())
    for overlap in (record.between(first, second) for first in record.names for second in record.names):
        low, high = overlap.iou_ci95
        assert f"{100 * overlap.iou:.1f} % [{100 * low:.1f} to {100 * high:.1f}]" in words
    low, high = (sum(e.drop_ci95[side] for e in record.removal.removed) / 3 for side in (0, 1))
    assert f"[{100 * low:.1f} to {100 * high:.1f}], mean over the classes".replace("[-", "[−") in words
    change = charts["chart-removal-1"]["data"][0]["z"]
    before, after = record.removal.before, record.removal.removed[1].confusion
    assert change[2][0] == (after[2][0] - before[2][0]) / sum(before[2])
    assert "A removed class loses" in " ".join(page.text.split())


def test_layers_and_functions_are_means_without_the_control(shared_functions: Path) -> None:
    page, record = Page(shared_functions / "report.html"), read_modularity(shared_functions)
    charts = json.loads(page.data)["charts"]
    names, layer = record.names[1:], record.layers[1]
    row = charts["chart-different"]["data"][0]["z"][1]
    for column, name in enumerate(names):
        others = [record.between(name, other, layer).iou for other in names if other != name]
        assert row[column] == pytest.approx(sum(others) / 2)
    same = [record.between(name, name, layer) for name in names]
    low, high = (sum(overlap.iou_ci95[side] for overlap in same) / 3 for side in (0, 1))
    mean = sum(overlap.iou for overlap in same) / 3
    assert f"{100 * mean:.1f} % [{100 * low:.1f} to {100 * high:.1f}]" in " ".join(page.text.split())
    assert charts["chart-same"]["data"][0]["z"][1][2] == record.between(names[2], names[2], layer).iou


def test_functions_by_attribute_have_no_removal_and_say_that_labels_were_used(functions: Path) -> None:
    def by_attribute(outcome: dict[str, object]) -> None:
        outcome["removal"], outcome["by"] = None, "attribute:corner"

    change(functions, by_attribute)
    page = report_of(functions)
    assert "Group labels made the functions" in " ".join(page.text.split())
    assert "Masks of different functions have" in " ".join(page.text.split())
    assert page.count("section", id="removal") == 0


def test_hostile_names_are_text(functions: Path) -> None:
    path = functions / "modularity.json"
    text = path.read_text()
    for number, name in enumerate(("a", "b", "c")):
        escaped = json.dumps(HOSTILE[number])[1:-1]
        text = text.replace(f'"{name}"', f'"{escaped}"').replace(f'"without {name}"', f'"without {escaped}"')
    path.write_text(text)
    page = report_of(functions)
    assert page.count("img") == 0
    assert HOSTILE[0] in " ".join(page.text.split())


def change(folder: Path, edit: Callable[[dict[str, object]], object]) -> None:
    outcome = json.loads((folder / "modularity.json").read_text())
    edit(outcome)
    (folder / "modularity.json").write_text(json.dumps(outcome))


DAMAGES: dict[str, tuple[Callable[[dict[str, object]], object], str]] = {
    "newer": (lambda outcome: outcome.update(format=99), "has format 99"),
    "without overlaps": (lambda outcome: outcome.update(overlaps=[]), "not as prusc writes it"),
    "without seconds": (lambda outcome: outcome.pop("seconds"), "not as prusc writes it"),
    "odd entry": (lambda outcome: outcome.update(accuracies=[{"mask": 1}]), "not as prusc writes it"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_file_is_one_clear_error_and_the_old_page_stays(name: str, functions: Path) -> None:
    edit, message = DAMAGES[name]
    before = (functions / "report.html").read_bytes()
    change(functions, edit)
    with pytest.raises(RunFolderError, match=message):
        write_report(functions)
    assert (functions / "report.html").read_bytes() == before


def test_a_missing_log_is_told(functions: Path) -> None:
    (functions / "log.txt").unlink()
    assert write_report(functions) == ("log.txt is missing: the report lacks the log",)


def test_many_columns_have_no_numbers_and_changes_have_signs() -> None:
    wide = chart_heat_map([[0.5] * 13], ["row"], [str(i) for i in range(13)], texts=[["t"] * 13])
    assert wide.data[0].texttemplate == ""
    narrow = chart_heat_map([[-0.251, 0.0, 1.0]], ["row"], ["a", "b", "<c>"], texts=[["x", "y", "z"]], is_change=True)
    assert narrow.data[0].text == (["−25", "0", "100"],) or list(narrow.data[0].text[0]) == ["−25", "0", "100"]
    assert narrow.data[0].zmin == -1
    assert narrow.layout.xaxis.ticktext[2] == "&lt;c&gt;"
