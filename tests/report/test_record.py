"""What a record says of the run that it was read from."""

from dataclasses import replace
from pathlib import Path

from prusc.report.reading.run import read_run


def test_a_finished_run_says_what_its_metrics_say(shared_run: Path) -> None:
    record = read_run(shared_run)
    assert (record.is_finished, record.is_audit, record.remedy) == (True, False, "")
    assert record.outcome is record.metrics
    assert record.class_names == ["cat", "dog"]
    assert record.data_name == "made <b>up</b>"


def test_another_method_is_named(shared_run: Path) -> None:
    record = read_run(shared_run)
    other = replace(record, metrics={**record.metrics, "method": "jtt", "method_title": "JTT"})
    assert other.remedy == "JTT"
    assert replace(record, metrics={**record.metrics, "method": "prusc"}).remedy == ""


def test_an_audit_is_one_until_a_run_is_finished(shared_audit: Path, shared_run: Path) -> None:
    audit, run = read_run(shared_audit), read_run(shared_run)
    assert (audit.is_finished, audit.is_audit) == (False, True)
    assert audit.outcome is audit.audit
    both = replace(audit, metrics=run.metrics)
    assert (both.is_finished, both.is_audit) == (True, False)
    assert both.outcome is run.metrics


def test_an_unfinished_run_has_numbers_for_names(shared_run: Path) -> None:
    record = replace(read_run(shared_run), metrics={})
    assert record.class_names == ["class 0", "class 1"]
    assert record.data_name == record.config.data
    assert replace(record, clusters=None).class_names == []
