"""The plan of the stages, and the time left that is told from it."""

from dataclasses import replace

import pytest

from prusc.config import ClusteringConfig, RuntimeConfig
from prusc.engine.runtime import Runtime
from prusc.runs.plan import describe_time, plan_stages
from prusc.runs.resume import Stages
from tests.networks import Listener, striped_data
from tests.run_folders import TINY


def test_stages_come_in_their_order_with_their_work() -> None:
    data = striped_data(12)
    audit = plan_stages(TINY, data, is_trained=False, is_audit=True)
    assert audit == {"erm": 36.0, "clustering": 24.0, "audit": 24.0}
    run = plan_stages(TINY, data, is_trained=True, is_audit=False)
    assert list(run) == [
        "erm",
        "early_network",
        "clustering",
        "debiasing_set",
        "masks",
        "controls",
        "candidates",
        "weights",
        "evaluation",
    ]
    assert run["erm"] == 0
    assert run["early_network"] == 36
    assert run["masks"] == 3 * 2 * 16
    # Heads are fitted on validation; then one learning rate.
    assert run["controls"] == 12 + 3 * 2 * 16
    late = replace(TINY, clustering=ClusteringConfig(checkpoint=None, num_clusters=3), controls=False)
    fewer = plan_stages(late, data, is_trained=True, is_audit=False)
    assert "early_network" not in fewer
    assert fewer["controls"] == 12


def test_each_stage_is_said_once_with_the_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr("prusc.runs.resume.time.perf_counter", lambda: clock[0])
    progress = Listener()
    stages = Stages(None, Runtime(RuntimeConfig(device="cpu")), progress)
    stages.follow({"erm": 100.0, "masks": 50.0, "candidates": 150.0})
    for name, seconds in (("erm", 10.0), ("masks", 10.0), ("candidates@1", 1.0), ("other", 1.0), ("candidates@2", 1.0)):
        with stages.timed(name):
            clock[0] += seconds
    assert progress.lines == [
        "stage 1 of 3: erm",
        "stage 2 of 3: masks, about 20 s left",  # 10 s for 100, and 200 are left
        "stage 3 of 3: candidates, about 20 s left",  # 20 s for 150, and 150 are left
    ]


def test_times_are_rounded_as_estimates_are() -> None:
    assert [describe_time(seconds) for seconds in (0.1, 12, 89, 91, 3600, 7200)] == [
        "5 s",
        "10 s",
        "90 s",
        "2 min",
        "60 min",
        "2.0 h",
    ]
