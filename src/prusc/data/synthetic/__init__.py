"""Data sets with a spurious attribute of known strength: docs/reference/benchmark-data.md."""
