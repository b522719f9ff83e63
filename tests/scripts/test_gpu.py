"""The GPU benchmark, dry on the CPU: a mistake in it would cost a loan of the device."""

import json
import sys
from pathlib import Path

import pytest

from tests.scripts.scripts import import_script


def test_a_part_that_fails_is_written_and_the_others_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = import_script(monkeypatch, "gpu", "benchmarks")

    def fail(*_: object) -> dict[str, object]:
        raise ZeroDivisionError("why")

    monkeypatch.setattr(script, "PARTS", {"masks": fail, "kmeans": lambda *_: {"ratio": 1.0}})
    options = ["--out", str(tmp_path / "found.json"), "--device", "cpu", "--tiny", "--parts", "masks", "kmeans"]
    monkeypatch.setattr(sys, "argv", ["gpu.py", *options])
    with pytest.raises(SystemExit, match="True"):
        script.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["parts"] == {"masks": {"failed": "ZeroDivisionError: why"}, "kmeans": {"ratio": 1.0}}
    monkeypatch.setattr(sys, "argv", ["gpu.py", *options, "--budget", "0"])
    with pytest.raises(SystemExit):
        script.main()
    found = json.loads((tmp_path / "found.json").read_text())
    assert {part["failed"] for part in found["parts"].values()} == {"TimeoutError: no time was left"}


@pytest.mark.slow
def test_every_part_runs_dry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    script = import_script(monkeypatch, "gpu", "benchmarks")
    monkeypatch.setattr(sys, "argv", ["gpu.py", "--out", str(tmp_path / "found.json"), "--device", "cpu", "--tiny"])
    with pytest.raises(SystemExit, match="False"):
        script.main()
    parts = json.loads((tmp_path / "found.json").read_text())["parts"]
    assert set(parts) == set(script.PARTS)
    assert parts["mask_step"]["mask_to_plain"] > 0
    # On one device the same seed gives the same mask, and another seed another one.
    assert parts["masks"]["agreement"]["cpu and device"] == 1
    assert parts["masks"]["agreement"]["cpu and other seed"] < 1
    assert "report.html" in parts["demo"]["files"]
    assert parts["kmeans"]["chosen_k"] == 16
