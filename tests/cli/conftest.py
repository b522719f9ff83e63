"""What the tests of the command line run on.

pytest may import this file before the shape checker hooks into imports of prusc, so prusc is imported inside fixtures.
"""

from pathlib import Path

import pytest


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder of faces in CelebA's layout, to change."""
    from tests.cli.faces import write_faces

    return write_faces(tmp_path / "faces")


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """A run folder that is not there yet."""
    return tmp_path / "run"
