"""What a report says of a suspect: the differences in words, the pictures, and the warning of the border."""

import json
from dataclasses import replace
from pathlib import Path

import torch

from prusc.report.names import amount, list_probes, tell_name, view_names, warn_of_probes
from prusc.report.reading.run import read_run
from tests.report.pages import report_of


def test_a_suspect_has_its_name_its_pictures_and_what_follows(shared_audit: Path) -> None:
    record = read_run(shared_audit)
    views = view_names(record)
    assert set(views) == {1}
    view = views[1]
    assert (view.num_inside, view.num_compared, view.num_hidden) == (40, 120, 0)
    assert [item.text for item in view.alone] == ["left: bluer"]
    assert [item.text for item in view.following] == ["whole picture: bluer"]
    assert tell_name(view) == "left: bluer; place is in: more often"
    assert tell_name(None) == ""
    assert all(address.startswith("data:image/webp") for address in (view.mean_here, view.mean_rest, view.heat))
    assert amount(view.alone[0]) == "−60.00 units of b* (CIELAB), 95 % interval −70.00 to −50.00"
    assert (
        amount(view.given[0])
        == "90\N{NO-BREAK SPACE}% here, 25\N{NO-BREAK SPACE}% elsewhere; difference −70 to −50 points"
    )


def test_only_a_part_that_tells_the_class_is_a_warning(shared_audit: Path) -> None:
    record = read_run(shared_audit)
    assert [probe.part for probe in list_probes(record)] == ["border", "background"]
    (warning,) = warn_of_probes(record)
    assert warning.startswith("The border alone tells the class")
    assert "93.0 % (88.0 to 97.0), where guessing has 50.0 %" in warning


def test_no_place_that_differs_and_no_picture_draw_nothing(shared_audit: Path) -> None:
    record = read_run(shared_audit)
    assert record.samples is not None
    assert record.samples.names is not None
    for maps, means, shown in (
        (torch.zeros(1, 24, 24), record.samples.names.means, (True, False)),
        (None, None, (False, False)),
    ):
        names = replace(record.samples.names, maps=maps, means=means)
        view = view_names(replace(record, samples=replace(record.samples, names=names)))[1]
        assert (bool(view.mean_here), bool(view.heat)) == shown
    assert view_names(replace(record, samples=None)) == {}


def test_the_page_names_the_shortcut_at_its_top(audited: Path) -> None:
    page = report_of(audited)
    top = page.text[: page.text.index("Limits of this audit")]
    assert "left: bluer; place is in: more often" in top
    assert "What its samples share that the rest of their classes do not" in page.text
    assert "where they differ" in page.text
    assert "tells the class" in page.text


def test_a_folder_without_names_or_with_damaged_ones_still_has_a_report(audited: Path) -> None:
    (audited / "samples" / "names.safetensors").unlink()
    assert "left: bluer" in report_of(audited).text
    names = audited / "samples" / "names.json"
    names.write_text(json.dumps({"num_compared": 3}))
    page = report_of(audited)
    assert "samples/names.json cannot be read" in page.text
    names.unlink()
    page = report_of(audited)
    assert "names.json" not in page.text
    assert "What its samples share" not in page.text
