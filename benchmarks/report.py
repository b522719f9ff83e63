"""Time and memory of the report: of the demo's run, and of a run with 160,000 samples made from arrays.

Each report is made by the command, in a process of its own: the time is that of the whole command, the imports too, the
memory the most that the process held.

    python benchmarks/report.py
"""

import argparse
import json
import multiprocessing
import resource
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def make_report(folder: str, results: "multiprocessing.Queue[tuple[float, float]]") -> None:
    begin = time.perf_counter()
    from prusc.cli import run_command_line

    if run_command_line(["report", folder]):
        raise SystemExit(1)
    results.put((time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20))


def measure(name: str, folder: Path) -> dict[str, float]:
    """Make a report in a new process; print and return its figures."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=make_report, args=(str(folder), results))
    process.start()
    process.join()
    if process.exitcode:
        raise SystemExit(f"the report of {folder} failed")
    seconds, gib = results.get()
    megabytes = (folder / "report.html").stat().st_size / 1e6
    print(f"{name}: {seconds:.1f} s, {gib:.2f} GiB at most, a page of {megabytes:.1f} MB")
    return {"seconds": round(seconds, 1), "peak_gib": round(gib, 2), "page_mb": round(megabytes, 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--demo", type=Path, default=ROOT / "runs" / "demo", help="left out if there is none")
    parser.add_argument("--num-samples", type=int, default=160_000)
    arguments = parser.parse_args()
    found = {}
    if (arguments.demo / "metrics.json").is_file():
        found["demo"] = measure("the demo's run", arguments.demo)
    with tempfile.TemporaryDirectory() as folder:
        from tests.run_folders import make_run

        run = make_run(Path(folder) / "run", num_samples=arguments.num_samples)
        found["large"] = measure(f"a run with {arguments.num_samples} validation and test samples", run)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
