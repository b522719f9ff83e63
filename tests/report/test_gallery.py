"""The gallery of errors against the table that it comes from."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prusc.report import gallery as gallery_module
from prusc.report.gallery import count_confusions, make_gallery
from prusc.report.reading.run import read_run
from tests.report.pages import report_of


def test_every_error_of_either_network_is_there_once_the_most_confident_first(shared_run: Path) -> None:
    found = make_gallery(read_run(shared_run), with_sheets=False)
    assert found is not None
    table = pd.read_csv(shared_run / "samples" / "samples.csv")
    val = table[table["split"] == "val"]
    before, after = (val[f"prediction/{family}"] != val["label"] for family in ("erm", "subnetwork"))
    errors = val[before | after]
    assert found.num_errors == len(errors) == len(found.data["ids"])
    assert set(found.data["ids"]) == set(errors["sample_id"])
    assert (found.num_samples, found.num_hidden, found.has_after) == (len(val), 0, True)
    confidence = np.array(found.data["confidence"])
    wrong = np.array(found.data["predictions"]) != np.array(found.data["label"])
    worst = np.where(wrong, confidence, -1).max(axis=0)
    assert (np.diff(worst) <= 1e-3).all()
    assert sum(found.kinds.values()) == len(errors)
    assert found.kinds["wrong only after"] == int((~before & after).sum())
    assert found.data["sheets"] is None
    for number, family in enumerate(("erm", "subnetwork")):
        counts = np.array(found.confusions[number].counts)
        assert counts.sum() == len(val)
        assert np.trace(counts) == int((val[f"prediction/{family}"] == val["label"]).sum())
        assert counts[0, 1] == int(((val["label"] == 0) & (val[f"prediction/{family}"] == 1)).sum())


def test_a_page_is_bounded_and_says_what_it_leaves_out(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery_module, "MAX_ROWS", 7)
    found = make_gallery(read_run(run), with_sheets=True)
    assert found is not None
    assert (len(found.data["ids"]), found.num_hidden) == (7, found.num_errors - 7)
    assert found.data["sheets"][0].startswith("data:image/webp")
    assert "This page has the 7 most confident errors; samples/samples.csv has all." in report_of(run).text


def test_many_classes_are_listed_by_their_most_frequent_confusions() -> None:
    labels, predictions = np.array([0, 0, 1, 14, 14]), np.array([1, 1, 1, 3, 14])
    found = count_confusions("a", labels, predictions, [str(number) for number in range(15)])
    assert found.counts == ()
    assert found.pairs == ((0, 1, 2), (14, 3, 1))


def test_an_audit_and_a_table_of_an_older_prusc_have_a_gallery(audited: Path) -> None:
    found = make_gallery(read_run(audited), with_sheets=False)
    assert found is not None
    assert (found.has_after, len(found.confusions), found.confusions[0].title) == (False, 1, "the network")
    file = audited / "samples" / "samples.csv"
    table = pd.read_csv(file, keep_default_na=False, dtype=str)
    old = [name for name in table if str(name).startswith("confidence/") or name in ("kind", "suggested")]
    table.drop(columns=old).to_csv(file, index=False)
    found = make_gallery(read_run(audited), with_sheets=False)
    assert found is not None
    assert found.kinds == {}
    assert set(found.data["confidence"][0]) == {-1.0}
    assert "possibly mislabelled" not in report_of(audited).text


def test_without_a_record_of_samples_there_is_no_gallery(run: Path) -> None:
    (run / "samples" / "samples.csv").unlink()
    assert make_gallery(read_run(run), with_sheets=False) is None
    assert "All errors" not in report_of(run).text


def test_a_network_without_errors_has_nothing_to_show(run: Path) -> None:
    file = run / "samples" / "samples.csv"
    table = pd.read_csv(file, keep_default_na=False)
    for family in ("erm", "subnetwork"):
        table[f"prediction/{family}"] = table["label"]
    table.to_csv(file, index=False)
    page = report_of(run)
    assert "No validation sample is wrong." in page.text
    assert page.count("ul", id="gallery") == 0
