"""Time several variants of one job against each other on a machine that is not quiet."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping


def interleave(variants: Mapping[str, Callable[[], object]], rounds: int, *, warmup: int = 3) -> dict[str, list[float]]:
    """Run every variant once per round, in turn, and return the seconds of each run by variant.

    Whatever slows the machine for longer than a round slows all variants of that round alike, so the quotients of one
    round can be trusted where the seconds cannot. Every second round goes backwards: nobody always follows the same
    variant, with the caches as that one left them. The first runs, in which the allocator asks the system for memory
    and oneDNN chooses its kernels, are not counted.

    Args:
        variants: What to run, by name; a run on a GPU has to wait for the end of its work.
        rounds: How many runs of each are counted.
        warmup: How many are not.

    Returns:
        ``rounds`` times for each variant.
    """
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(warmup + rounds):
        order = list(variants.items())
        for name, run in reversed(order) if number % 2 else order:
            gc.collect()
            start = time.perf_counter()
            run()
            if number >= warmup:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def median_ratio(seconds: Mapping[str, list[float]], numerator: str, denominator: str) -> float:
    """Return the median of the quotients of the rounds."""
    return statistics.median(a / b for a, b in zip(seconds[numerator], seconds[denominator], strict=True))


def describe(seconds: Mapping[str, list[float]], name: str) -> str:
    """Return the median and the range of a variant's seconds, in milliseconds."""
    times = [1000 * value for value in seconds[name]]
    return f"median {statistics.median(times):9.1f} ms   ({min(times):.1f} to {max(times):.1f}, {len(times)} runs)"
