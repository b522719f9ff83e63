"""This process: its memory, and whether it is the one that writes and prints. Loads nothing heavy."""

import ctypes
import os
import sys

# Their numbers in glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def peak_memory_mib() -> float | None:
    """Return the most memory that this process has held so far; ``None`` where the system does not say (Windows)."""
    if sys.platform == "win32":
        return None
    import resource  # Not there on Windows.

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # macOS counts bytes, all others kibibytes.
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, instead of giving it back to the system: for processes of ours.

    A step of training frees all its tensors, and the next one asks for as many. By default glibc gives large ones back,
    and takes them anew page by page, each zeroed by the kernel: up to a third of the time of a step on a CPU
    (docs/results/performance.md). What it costs is memory between the stages: the process stays as large as it was.

    Returns:
        Whether the C library has such settings; others than glibc are left as they are.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # Another C library; Windows does not even take the None.
        return False
    return bool(mallopt(_M_MMAP_MAX, 0)) and bool(mallopt(_M_TRIM_THRESHOLD, -1))


def is_main_process() -> bool:
    """Whether this process writes and prints: the only one, or the first that ``torchrun`` started."""
    return os.environ.get("RANK", "0") == "0"
