"""Files that may be missing or damaged are noted, once each."""

from pathlib import Path

import pytest

from prusc.report.reading.optional import OptionalFiles, describe_error, read_json


def test_what_is_there_is_read_and_nothing_is_noted(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"b": [1, "é"]}', "utf-8")
    files = OptionalFiles(tmp_path)
    assert files.read("a.json", read_json, "the letters") == {"b": [1, "é"]}
    assert files.missing == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "a.json is missing: the report lacks the letters"),
        ("{", "a.json cannot be read (JSONDecodeError: Expecting property name enclosed in double quotes"),
    ],
)
def test_what_is_not_is_noted_with_what_the_report_lacks(tmp_path: Path, content: str | None, expected: str) -> None:
    if content is not None:
        (tmp_path / "a.json").write_text(content)
    files = OptionalFiles(tmp_path)
    assert files.read("a.json", read_json, "the letters") is None
    [line] = files.missing
    assert line.startswith(expected)
    assert line.endswith(": the report lacks the letters")
    # Without it, the report lacks nothing.
    assert files.read("a.json", read_json, "") is None
    assert len(files.missing) == 1


def test_a_bug_is_not_taken_for_a_damaged_file(tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError):
        OptionalFiles(tmp_path).read("a.json", fail, "the letters")


def test_an_error_is_described_by_its_class_and_first_line() -> None:
    assert describe_error(ValueError("first\nsecond")) == "ValueError: first"
    assert describe_error(KeyError()) == "KeyError: "
    assert describe_error(ValueError("x" * 300)) == f"ValueError: {'x' * 200}"
