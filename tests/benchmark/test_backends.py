"""Workers that die: their tasks are run again, and one that kills every worker is given up alone."""

import os
import re
import signal
import sys
import threading
import time
import uuid
from pathlib import Path
from types import SimpleNamespace

import pytest

from prusc.benchmark import parse_matrix, run_bench
from prusc.benchmark.backends import MAX_DEATHS, Workers
from prusc.errors import ConfigError
from tests.benchmark.matrices import tiny_matrix


def work(task: tuple[str, Path], num_threads: int) -> str | None:
    """Write a mark, fail, or die: once, or always."""
    kind, path = task
    with path.open("a") as file:
        file.write("x")
    if kind == "deadly" or (kind == "once" and path.stat().st_size == 1):
        os.kill(os.getpid(), signal.SIGKILL)
    return "failed" if kind == "failing" else None


def run_kinds(tmp_path: Path, workers: Workers, kinds: list[str]) -> dict[str, str | None]:
    tasks = [(kind, tmp_path / f"{number}-{kind}") for number, kind in enumerate(kinds)]
    return {task[1].name: error for task, error in workers.run(work, tasks)}


@pytest.mark.slow
def test_a_dead_worker_costs_no_task(tmp_path: Path) -> None:
    outcome = run_kinds(tmp_path, Workers(num_workers=2), ["good", "once", "failing", "good"])
    assert outcome == {"0-good": None, "1-once": None, "2-failing": "failed", "3-good": None}
    assert (tmp_path / "1-once").stat().st_size == 2


def test_no_tasks_need_no_workers() -> None:
    assert list(Workers("ray").run(work, [])) == []


@pytest.mark.slow
def test_a_task_that_kills_every_worker_fails_alone(tmp_path: Path) -> None:
    outcome = run_kinds(tmp_path, Workers(num_workers=2), ["deadly", "good", "good"])
    assert outcome.pop("0-deadly") is not None
    assert set(outcome.values()) == {None}
    assert (tmp_path / "0-deadly").stat().st_size >= MAX_DEATHS


def find_workers(mark: str) -> list[int]:
    """The processes of this test's Ray cluster that are in the middle of a task."""
    found = []
    for process in Path("/proc").iterdir():
        try:
            if not process.name.isdigit() or not (process / "cmdline").read_bytes().startswith(b"ray::run_task"):
                continue
            if mark.encode() in (process / "environ").read_bytes():
                found.append(int(process.name))
        except OSError:
            continue
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/environ").is_file(), reason="finds the worker to kill in /proc")
def test_a_benchmark_outlives_a_killed_worker_of_a_ray_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'prusc[ray]'")
    mark = f"PRUSC_TEST={uuid.uuid4()}"
    monkeypatch.setenv(*mark.split("="))
    text = tiny_matrix(tmp_path).replace("steps = 2,", "steps = 400,").replace("seeds = [0]", "seeds = [0, 1, 2]")
    matrix, out = parse_matrix(text.replace(', "class-balanced"', ""), "tiny"), tmp_path / "bench"
    killed: list[int] = []

    def kill_one() -> None:
        cells = [out / cell.path for cell in matrix.cells() if cell.method == "prusc"]
        for _ in range(3000):
            time.sleep(0.1)
            running = [c for c in cells if (c / "log.txt").is_file() and not (c / "metrics.json").is_file()]
            workers = find_workers(mark)
            if len(running) == 2 and len(workers) == 2:
                os.kill(workers[0], signal.SIGKILL)
                killed.append(workers[0])
                return

    killer = threading.Thread(target=kill_one)
    killer.start()
    result = run_bench(matrix, out, workers=Workers("ray", num_workers=2, address="local"))
    killer.join()
    assert len(killed) == 1
    assert result.failed == ()
    assert len(result.rows) == 6
    # The cell that the worker was in was begun twice, every other one once.
    begun = sorted((out / folder / "log.txt").read_text().count("+00:00 data ") for folder in result.rows.folder)
    assert begun == [1, 1, 1, 1, 1, 2]


@pytest.mark.slow
def test_a_dask_cluster_runs_the_same(tmp_path: Path) -> None:
    pytest.importorskip("distributed", reason="Dask is not installed: pip install 'prusc[dask]'")
    outcome = run_kinds(tmp_path, Workers("dask", num_workers=2, address="local"), ["good", "once", "failing"])
    assert outcome == {"0-good": None, "1-once": None, "2-failing": "failed"}
    with pytest.raises(ConfigError, match=r"no Dask cluster at tcp://127\.0\.0\.1:9"):
        list(Workers("dask", address="tcp://127.0.0.1:9").run(work, [("good", tmp_path / "never")]))


def test_a_backend_that_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, package in (("ray", "ray"), ("dask", "distributed")):
        monkeypatch.setitem(sys.modules, package, None)
        with pytest.raises(ConfigError, match=rf"backend {name} needs the package {package}: pip install"):
            list(Workers(name).run(work, [("good", Path("never"))]))


@pytest.mark.parametrize(
    ("cause", "expected"),
    [
        (
            "RPC error: InvalidAuthToken: token is missing",
            "it requires a token; set RAY_AUTH_MODE=token",
        ),
        ("RPC error: unavailable", "Failed to connect; start one with ray start --head, give its address, or local"),
    ],
)
def test_a_ray_cluster_that_cannot_be_used_says_why(monkeypatch: pytest.MonkeyPatch, cause: str, expected: str) -> None:
    def init(**_: object) -> None:
        raise ConnectionError("Failed to connect") from RuntimeError(cause)

    monkeypatch.setitem(sys.modules, "ray", SimpleNamespace(is_initialized=lambda: False, init=init))
    with pytest.raises(ConfigError, match=re.escape(f"cannot use the Ray cluster at here:1: {expected}")):
        list(Workers("ray", address="here:1").run(work, [("good", Path("never"))]))
