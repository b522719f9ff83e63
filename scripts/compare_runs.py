"""Check that two versions of prusc write the same run folders, byte for byte except for times and versions.

    python scripts/compare_runs.py before/runs after/runs

Left out of the comparison are the times, memory and versions in metrics.json, audit.json, model-card.md and
report.html, the time before each line of log.txt, and in tables the columns of seconds.
The exit code is 1 if anything differs.
"""

import argparse
import csv
import difflib
import json
import re
import sys
from pathlib import Path
from typing import Any

_VOLATILE_KEYS = {"seconds", "peak_memory_mib", "versions", "prusc"}
_VOLATILE_COLUMNS = {"seconds", "cost"}
# Times, memory and versions in the text of pages and cards.
_VOLATILE_TEXT = re.compile(
    r"(\d+ h )?(\d+ min )?\d[\d.,]* (s|min|h|MiB|GiB)\b|[\d.]+(\+cpu|\+cu\d+)|\d{4}-\d\d-\d\d[T ][\d:+Z-]*"
)


def main() -> None:
    """Compare the folders and print the differences."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    arguments = parser.parse_args()
    names = {
        path.relative_to(root)
        for root in (arguments.before, arguments.after)
        for path in root.rglob("*")
        if path.is_file()
    }
    differing = 0
    for name in sorted(names):
        problem = compare(arguments.before / name, arguments.after / name)
        if problem:
            differing += 1
            print(f"{name}: {problem}")
    print(f"{len(names)} files, {differing} differ")
    sys.exit(differing > 0)


def compare(before: Path, after: Path) -> str:
    """Return how a file differs; an empty text if it does not."""
    for path in (before, after):
        if not path.is_file():
            return f"missing in {path.parent}"
    old, new = steady_content(before), steady_content(after)
    if old == new:
        return ""
    if isinstance(old, bytes) or isinstance(new, bytes):
        return "differs"
    lines = difflib.unified_diff(old.splitlines(), new.splitlines(), lineterm="", n=0)
    return "\n    ".join(["differs", *(line[:300] for line in list(lines)[2:22])])


def steady_content(path: Path) -> str | bytes:
    """Return the content of a file that must be equal in two runs."""
    if path.suffix == ".json":
        return json.dumps(without_volatile(json.loads(path.read_text("utf-8"))), indent=1)
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        return "\n".join(str({k: v for k, v in row.items() if k not in _VOLATILE_COLUMNS}) for row in rows)
    if path.name == "log.txt":
        return re.sub(r"(?m)^\S+ ", "", path.read_text("utf-8"))
    if path.suffix in (".html", ".md", ".txt"):
        return _VOLATILE_TEXT.sub("#", path.read_text("utf-8")).replace(">", ">\n")
    return path.read_bytes()


def without_volatile(content: Any) -> Any:
    """Leave out times, memory and versions."""
    if isinstance(content, dict):
        return {key: without_volatile(value) for key, value in content.items() if key not in _VOLATILE_KEYS}
    return [without_volatile(item) for item in content] if isinstance(content, list) else content


if __name__ == "__main__":
    main()
