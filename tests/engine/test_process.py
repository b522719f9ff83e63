import ctypes
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import pytest

from prusc.engine.process import is_main_process, keep_freed_memory, let_threads_sleep, peak_memory_mib

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def run_python(code: str, *arguments: str, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, **environment},
    )
    return done.stdout.strip()


def test_it_imports_nothing_heavy() -> None:
    heavy = ("torch", "numpy", "lightning_fabric", "rich")
    code = f"import sys, prusc.engine.process; print([name for name in {heavy} if name in sys.modules])"
    assert run_python(code) == "[]"


@on_linux
def test_the_peak_is_that_of_the_system_in_mib_and_never_falls() -> None:
    before = peak_memory_mib()
    block = bytearray(b"x") * (80 * 2**20)
    with open("/proc/self/status") as file:  # noqa: PTH123
        high_water = next(int(line.split()[1]) / 2**10 for line in file if line.startswith("VmHWM"))
    after = peak_memory_mib()
    assert before is not None
    assert after is not None
    assert after == pytest.approx(high_water, rel=0.02)
    del block
    assert peak_memory_mib() >= after  # type: ignore[operator]


@pytest.mark.parametrize(("system", "expected"), [("darwin", 3.0), ("linux", 3072.0)])
def test_macos_counts_bytes_and_others_kibibytes(monkeypatch: pytest.MonkeyPatch, system: str, expected: float) -> None:
    resource = SimpleNamespace(RUSAGE_SELF=0, getrusage=lambda _: SimpleNamespace(ru_maxrss=3 * 2**20))
    monkeypatch.setitem(sys.modules, "resource", resource)
    monkeypatch.setattr("prusc.engine.process.sys", SimpleNamespace(platform=system))
    assert peak_memory_mib() == expected


def test_windows_has_no_peak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prusc.engine.process.sys", SimpleNamespace(platform="win32"))
    assert peak_memory_mib() is None


@pytest.mark.skipif(sys.platform == "win32", reason="counts page faults")
def test_kept_memory_is_not_taken_from_the_system_again() -> None:
    code = """
import resource, sys
from prusc.engine.process import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "keep" else None)
def take():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    b"x" * (50 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print([take() for _ in range(4)][-1])
"""
    faults = {}
    for how in ("keep", "give back"):
        could, number = run_python(code, how).split()
        faults[how] = int(number)
        assert could == ("None" if how == "give back" else str(platform.libc_ver()[0] == "glibc"))
    if platform.libc_ver()[0] == "glibc":
        # Huge pages may make it fewer than the 12,800 small ones.
        assert faults["keep"] < 10 < faults["give back"]


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch, error: type[Exception]) -> None:
    def refuse(name: object) -> None:
        raise error(name)

    monkeypatch.setattr(ctypes, "CDLL", refuse)
    assert keep_freed_memory() is False


def test_a_setting_that_the_library_refuses_is_not_claimed(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int]] = []

    def mallopt(number: int, value: int) -> int:
        made.append((number, value))
        return int(number == -4)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=mallopt))
    assert keep_freed_memory() is False
    assert made == [(-4, 0), (-1, -1)]


@pytest.mark.parametrize(("rank", "expected"), [(None, True), ("0", True), ("1", False), ("12", False)])
def test_only_the_first_process_of_torchrun_writes(
    monkeypatch: pytest.MonkeyPatch, rank: str | None, expected: bool
) -> None:
    monkeypatch.delenv("RANK", raising=False)
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert is_main_process() is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, {"OMP_WAIT_POLICY": "PASSIVE", "KMP_BLOCKTIME": "0"}),
        ({"OMP_WAIT_POLICY": "ACTIVE"}, {"OMP_WAIT_POLICY": "ACTIVE", "KMP_BLOCKTIME": "0"}),
        ({"GOMP_SPINCOUNT": "9", "KMP_BLOCKTIME": "1"}, {"GOMP_SPINCOUNT": "9", "KMP_BLOCKTIME": "1"}),
    ],
)
def test_threads_sleep_unless_the_user_says_otherwise(
    monkeypatch: pytest.MonkeyPatch, given: dict[str, str], expected: dict[str, str]
) -> None:
    names = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
    monkeypatch.setattr(os, "environ", {"PATH": "x", **given})
    let_threads_sleep()
    assert {name: os.environ[name] for name in names if name in os.environ} == expected


def test_the_command_line_says_so_before_pytorch_is_imported() -> None:
    code = """
import os, sys
from prusc.cli.main import main
assert "torch" not in sys.modules
try:
    main(["--version"])
except SystemExit:
    print(os.environ["OMP_WAIT_POLICY"])
"""
    assert run_python(code, OMP_WAIT_POLICY="ACTIVE").splitlines()[-1] == "ACTIVE"
    unset = "import os\nos.environ.pop('OMP_WAIT_POLICY', None)"
    assert run_python(unset + code).splitlines()[-1] == "PASSIVE"
