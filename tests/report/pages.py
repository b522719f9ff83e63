"""Reports as a reader sees them, names that attack a page, and changes to run folders."""

from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from prusc.report import write_report

Capture = pytest.CaptureFixture[str]

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "\"quotes' {{ 7 * 7 }} \\u003c",
    "\u05d0\u05d1\u05d2\u202e\u05d3\u05d4",
    "🦊" * 100 + "x" * 300,
)


class Page(HTMLParser):
    """The text that a reader sees, the elements, and the page's data."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.data = ""
        self._inside = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "page-data":
            self.data += data
        elif self._inside not in ("script", "style"):
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def count(self, tag: str, **attributes: str) -> int:
        return sum(name == tag and attributes.items() <= found.items() for name, found in self.elements)


def report_of(run: Path) -> Page:
    write_report(run)
    return Page(run / "report.html")


def remove(*names: str) -> Callable[[Path], object]:
    return lambda run: [(run / name).unlink() for name in names]


def damage(name: str) -> Callable[[Path], object]:
    return lambda run: (run / name).write_bytes(b"\x00\xff,\n1,2,3,4\n")
