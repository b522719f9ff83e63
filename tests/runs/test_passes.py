"""No network runs twice over the same images."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prusc import audit, debias
from prusc.engine.feed import Feed
from tests.runs.test_debias import SMALL, small_data


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> Counter[int]:
    """Count the passes over each split, by its size."""
    counted: Counter[int] = Counter()
    iterate = Feed.iterate

    def count(self: Feed, *arguments: Any, **options: Any) -> Iterator[Any]:
        counted[len(self)] += 1
        return iterate(self, *arguments, **options)

    monkeypatch.setattr(Feed, "iterate", count)
    return counted


def base_of(candidate: str) -> str:
    """A new head reads the representations of its base; fine-tuned weights are a network of their own."""
    return candidate if "/weights" in candidate else candidate.partition("/")[0]


def test_a_run_extracts_each_split_once_for_each_network(passes: Counter[int], tmp_path: Path) -> None:
    data = small_data()
    result = debias(data=data, config=SMALL, out=tmp_path / "run")
    networks = {base_of(candidate.name) for candidate in result.candidates}
    chosen = {base_of(name) for name in result.chosen.values()}
    assert len(networks) == 5
    # The pseudo-attribute comes from a network of its own: the ERM network after its first epoch.
    assert passes == {len(data.train): 1, len(data.val): 1 + len(networks), len(data.test): len(chosen)}


def test_an_audit_extracts_each_split_once_for_each_network(passes: Counter[int], tmp_path: Path) -> None:
    data = small_data()
    audit(data=data, config=SMALL, out=tmp_path / "run")
    assert passes == {len(data.train): 1, len(data.val): 2}
