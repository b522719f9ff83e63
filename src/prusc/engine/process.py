"""This process: its memory, and whether it writes and prints. Imports nothing heavy."""

import ctypes
import os
import sys
from pathlib import Path

# Their numbers in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def peak_memory_mib() -> float | None:
    """Return the peak memory of this process so far, in MiB; ``None`` on Windows, which does not report it."""
    if sys.platform == "win32":
        return None
    import resource  # Does not exist on Windows.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, other systems count kibibytes.
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, for processes that prusc owns.

    Each training step frees its tensors, and the next step allocates as many again. By default glibc returns large
    ones to the system and gets them back page by page, each zeroed by the kernel. On a CPU that takes up to a third of
    a step (docs/results/performance.md). The cost: between stages the process keeps its peak memory.

    Returns:
        Whether the settings were made; only glibc has them.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # Another C library; on Windows CDLL refuses None.
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


def folder_size(folder: Path) -> int:
    """Return the size in bytes of all files in a folder and below it."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def describe_size(size: int) -> str:
    """Return a size in bytes with a readable unit."""
    if size < 10**6:
        return f"{size / 10**3:.0f} kB"
    return f"{size / 10**6:.0f} MB" if size < 10**9 else f"{size / 10**9:.1f} GB"


def let_threads_sleep() -> None:
    """Let threads sleep instead of spin while they wait for each other, for processes that prusc owns.

    Call this before PyTorch or scikit-learn is imported. Their threads meet at the end of each operation, thousands of
    times in a second. If other processes need the cores too, the thread that others wait for is not running, and those
    that spin keep it from running (docs/results/performance.md). What the user has set stays.
    """
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # For builds of scikit-learn or MKL on Intel's own runtime.
    os.environ.setdefault("KMP_BLOCKTIME", "0")


def is_main_process() -> bool:
    """Whether this process writes and prints: it is the only one, or rank 0 under ``torchrun``."""
    return os.environ.get("RANK", "0") == "0"
