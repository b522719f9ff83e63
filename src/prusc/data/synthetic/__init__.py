"""Data sets with a spurious attribute of known strength, composed from well-known images (docs/reference/benchmark-data.md)."""
