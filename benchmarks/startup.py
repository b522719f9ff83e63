"""How long a process of prusc takes before it does any work, as a user waits for it.

Each command runs as a whole process: Python starts, imports what the command needs, prints and exits. `python -c pass`
and `python -c "import torch"` run beside them as the yardstick, since every machine starts Python at its own speed.
The commands run in turn, round by round, so that whatever slows the machine for a while slows all of them alike. The
first round, which fills the file cache, is not counted.

    python benchmarks/startup.py
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

_ROOT = Path(__file__).resolve().parents[1]

# The command, and the exit code that it must have.
COMMANDS: dict[str, tuple[tuple[str, ...], int]] = {
    "python -c pass": (("-c", "pass"), 0),
    'python -c "import torch"': (("-c", "import torch"), 0),
    'python -c "import prusc"': (("-c", "import prusc"), 0),
    "prusc --version": (("-m", "prusc", "--version"), 0),
    "prusc --help": (("-m", "prusc", "--help"), 0),
    "prusc run --foo": (("-m", "prusc", "run", "--foo"), 2),
}


def measure(commands: Mapping[str, tuple[tuple[str, ...], int]], num_runs: int) -> dict[str, list[float]]:
    """Run every command once a round, in turn.

    Args:
        commands: Arguments of the interpreter and the expected exit code, by name.
        num_runs: How many runs of each are counted.

    Returns:
        Wall seconds of each run, by name.

    Raises:
        SystemExit: If a command exits with another code than expected.
    """
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(1 + num_runs):
        for name, (arguments, expected) in commands.items():
            begin = time.perf_counter()
            done = subprocess.run([sys.executable, *arguments], cwd=_ROOT, capture_output=True, text=True, check=False)
            passed = time.perf_counter() - begin
            if done.returncode != expected:
                raise SystemExit(f"{name}: exit code {done.returncode}, expected {expected}\n{done.stderr[-2000:]}")
            if number:
                seconds[name].append(passed)
    return seconds


def make_table(seconds: Mapping[str, Sequence[float]]) -> str:
    """Return one line per command: median, minimum and maximum in seconds."""
    width = max(map(len, seconds))
    lines = [f"{'command':<{width}}  median    min    max"]
    for name, own in seconds.items():
        lines.append(f"{name:<{width}}  {statistics.median(own):6.2f} {min(own):6.2f} {max(own):6.2f}")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=7, help="counted runs of each command")
    options = parser.parse_args(arguments)
    if options.runs < 1:
        parser.error(f"--runs must be at least 1, found {options.runs}")
    seconds = measure(COMMANDS, options.runs)
    print(f"seconds of wall time, {options.runs} runs of each, Python {sys.version.split()[0]}")
    print(make_table(seconds))
    print(json.dumps({name: round(statistics.median(own), 3) for name, own in seconds.items()}))


if __name__ == "__main__":
    main()
