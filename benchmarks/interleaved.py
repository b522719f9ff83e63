"""Time several variants of one job against each other on a busy machine."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping


def interleave(variants: Mapping[str, Callable[[], object]], rounds: int, *, warmup: int = 3) -> dict[str, list[float]]:
    """Run every variant once per round, in turn, and return the seconds of each run by variant.

    Other load that lasts longer than a round slows all variants of that round alike. So the ratios within a round are
    reliable, even if the seconds are not. Every second round runs in reverse order, so that no variant always finds the
    caches as the same other one left them. The first rounds are not counted, because the allocator then asks the system
    for memory and oneDNN chooses its kernels.

    Args:
        variants: Functions to run, by name. One that uses a GPU must wait for the end of its work.
        rounds: Number of counted runs of each variant.
        warmup: Number of runs before those.

    Returns:
        Seconds of the ``rounds`` runs of each variant.
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
    """Return the median over the rounds of the ratio of two variants."""
    return statistics.median(a / b for a, b in zip(seconds[numerator], seconds[denominator], strict=True))


def describe(seconds: Mapping[str, list[float]], name: str) -> str:
    """Return the median and the range of a variant's seconds, in milliseconds."""
    times = [1000 * value for value in seconds[name]]
    return f"median {statistics.median(times):9.1f} ms   ({min(times):.1f} to {max(times):.1f}, {len(times)} runs)"
