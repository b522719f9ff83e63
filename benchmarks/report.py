"""Time and memory of the report: of the demo's run, and of a run with 160,000 samples made from arrays.

Each report is written by the command, in a process of its own. The time is that of the whole command with its imports;
the memory is the peak of the process. Then chromium opens the page of the large run, whose map has 5,000 points. We
measure the time until everything is drawn, until the map answers to the mouse, and until it is coloured again.

    python benchmarks/report.py
"""

import argparse
import json
import multiprocessing
import resource
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))


def make_report(folder: str, results: "multiprocessing.Queue[tuple[float, float]]") -> None:
    begin = time.perf_counter()
    from prusc.cli.main import run_command_line

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


# Points at a sample and waits until the page has answered and the answer is on the screen: a frame is asked for, and
# what is queued behind it runs once the frame is painted.
POINT_AT = """async ([x, y]) => {
    const chart = document.getElementById("chart-map"), list = document.querySelector("#map-detail dl");
    const layer = chart.querySelector(".nsewdrag"), box = layer.getBoundingClientRect();
    const painted = () => new Promise(done => requestAnimationFrame(() => {
        const {port1, port2} = new MessageChannel();
        port1.onmessage = done;
        port2.postMessage(0);
    }));
    const answered = new Promise((done, fail) => {
        new MutationObserver((_, observer) => { observer.disconnect(); done(); }).observe(list, {childList: true});
        setTimeout(() => fail(new Error("no answer in 20 s")), 20000);
    });
    const begin = performance.now();
    layer.dispatchEvent(new MouseEvent("mousemove", {clientX: box.left + x, clientY: box.top + y, bubbles: true}));
    await answered;
    const answer = performance.now() - begin;
    await painted();
    return [answer, performance.now() - begin];
}"""
PLACES = """() => {
    const {xaxis, yaxis} = document.getElementById("chart-map")._fullLayout;
    return document.getElementById("chart-map").data.flatMap(
        trace => [...trace.x].map((x, index) => [xaxis.l2p(x), yaxis.l2p(trace.y[index])]));
}"""
RECOLOUR = """async name => {
    const menu = document.getElementById("map-colour");
    menu.selectedIndex = [...menu.options].findIndex(option => option.label === name);
    const begin = performance.now();
    menu.dispatchEvent(new Event("change"));
    await new Promise(done => requestAnimationFrame(() => setTimeout(done)));
    return performance.now() - begin;
}"""


def measure_page(page_path: Path, num_hovers: int) -> dict[str, float]:
    """Open a report and use its map; print and return the times in ms."""
    from playwright.sync_api import sync_playwright

    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        print("the map: skipped, chromium is not installed")
        return {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        begin = time.perf_counter()
        page.goto(page_path.absolute().as_uri())
        page.wait_for_function("document.querySelector('#chart-map .nsewdrag') !== null")
        opened = 1e3 * (time.perf_counter() - begin)
        page.evaluate("document.getElementById('chart-map').scrollIntoView({block: 'center'})")
        places = page.evaluate(PLACES)
        # Far apart, so that no two of them are one sample to the page.
        chosen = [places[index * 1_613 % len(places)] for index in range(num_hovers)]
        answers, painted = [], []
        for place in chosen:
            page.wait_for_timeout(120)
            answer, paint = page.evaluate(POINT_AT, place)
            answers.append(answer)
            painted.append(paint)
        names = ("class", "cluster") * 5
        colours = [page.evaluate(RECOLOUR, name) for name in names]
        browser.close()
    found = {
        "points": len(places),
        "open_ms": round(opened),
        "hover_median_ms": round(statistics.median(painted), 1),
        "hover_worst_ms": round(max(painted), 1),
        "hover_within_100_ms": sum(value <= 100 for value in painted) / len(painted),
        "answer_median_ms": round(statistics.median(answers), 1),
        "recolour_median_ms": round(statistics.median(colours)),
    }
    print(
        f"a map of {len(places)} points: open and drawn in {opened:.0f} ms; pointed at {num_hovers} times, on the "
        f"screen after {found['hover_median_ms']} ms (median; worst {found['hover_worst_ms']}, "
        f"{100 * found['hover_within_100_ms']:.1f} % within 100), of which the script {found['answer_median_ms']}; "
        f"coloured again in {found['recolour_median_ms']} ms (median of {len(colours)})"
    )
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--demo", type=Path, default=ROOT / "runs" / "demo", help="run folder of the demo; skipped if it does not exist"
    )
    parser.add_argument("--num-samples", type=int, default=160_000)
    parser.add_argument("--num-hovers", type=int, default=200)
    arguments = parser.parse_args()
    found = {}
    if (arguments.demo / "metrics.json").is_file():
        found["demo"] = measure("the demo's run", arguments.demo)
    with tempfile.TemporaryDirectory() as folder:
        from tests.run_folders import make_run

        run = make_run(Path(folder) / "run", num_samples=arguments.num_samples)
        found["large"] = measure(f"a run with {arguments.num_samples} validation and test samples", run)
        found["map"] = measure_page(run / "report.html", arguments.num_hovers)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
