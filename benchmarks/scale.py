"""Time and peak memory of clustering, the linear source and the whole audit against the number of samples.

The features are synthetic, with a planted shortcut: each sample has a class and a place, which agree on 85 % of the
samples; the classifier follows the place. They are written block by block into a folder of ``.npy`` files, 512 numbers
of 16 bits for each sample: 10 GB for 10,000,000 of them.

Each measurement is a process of its own with one thread. Representations stay on disk at every size
(``runtime.representation_gib 0``), so that all sizes take the same way. Its time is that of the work without the
imports; its peak memory is ``ru_maxrss``, which counts the mapped pages that are in memory too.

* clusters: features opened and checked, K chosen, all training and validation samples placed.
* linear: the same, with the cross-fitted linear model in place of the clusters.
* audit: all of ``prusc audit --features``: clusters, tests, new heads, every file of the run folder and the page.

Measurements that docs/data/scale.csv holds are not repeated, so the script can be stopped and started again.

    python benchmarks/scale.py
    python benchmarks/scale.py --sizes 10000000 --stages clusters
    python benchmarks/scale.py --only-write
"""

import argparse
import csv
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "data" / "scale.csv"
PAGE, PLOT = ROOT / "docs" / "results" / "scale.md", ROOT / "docs" / "images" / "scale.png"
HOW_LARGE = ROOT / "docs" / "how-to" / "how-large.md"
BEGIN, END = "<!-- benchmarks/scale.py writes this table -->\n", "<!-- end -->\n"
SIZES = (10_000, 30_000, 100_000, 300_000, 1_000_000, 3_000_000, 10_000_000)
STAGES = ("clusters", "linear", "audit")
DIM, NUM_CLASSES, ALIGNED = 512, 4, 0.85
COLUMNS = ("stage", "samples", "seconds", "cpu_seconds", "peak_gib", "page_mb", "note")


def make_features(folder: Path, num_samples: int) -> Path:
    """Write features with a planted shortcut, unless they are there."""
    import numpy as np
    import torch

    target = folder / f"features-{num_samples}"
    if (target / "labels.npy").is_file():
        return target
    (target / "attribute").mkdir(parents=True, exist_ok=True)
    source = torch.Generator().manual_seed(num_samples)
    labels = torch.randint(NUM_CLASSES, (num_samples,), generator=source)
    others = torch.randint(1, NUM_CLASSES, (num_samples,), generator=source)
    aligned = torch.rand(num_samples, generator=source) < ALIGNED
    places = torch.where(aligned, labels, (labels + others) % NUM_CLASSES)
    axes = torch.linalg.qr(torch.randn(DIM, 2 * NUM_CLASSES, generator=source))[0].T
    rows = np.lib.format.open_memmap(target / "representations.npy", "w+", np.float16, (num_samples, DIM))
    for start in range(0, num_samples, 8192):
        here = slice(start, start + 8192)
        block = torch.randn(len(labels[here]), DIM, generator=source) / 4
        block += 4 * axes[places[here]] + 0.3 * axes[NUM_CLASSES + labels[here]]
        rows[here] = block.numpy()
    rows.flush()
    np.save(target / "predictions.npy", places.numpy())
    np.save(target / "attribute" / "place.npy", places.numpy())
    np.save(target / "split.npy", torch.randint(5, (num_samples,), generator=source).sub(2).clamp(min=0).numpy())
    np.save(target / "labels.npy", labels.numpy())
    return target


def run_stage(stage: str, features: Path, out: Path) -> dict[str, float]:
    """Run one stage in this process."""
    import resource

    import torch

    from prusc.config import ClusteringConfig, PseudoAttributeConfig, RunConfig, RuntimeConfig
    from prusc.data.features import read_features
    from prusc.report import write_report
    from prusc.runs.features import audit_features
    from prusc.stages.pseudo_attributes.infer import Seen, infer_attribute

    torch.set_num_threads(1)
    begin, cpu = time.perf_counter(), time.process_time()
    found: dict[str, float] = {}
    if stage == "audit":
        config = RunConfig(runtime=RuntimeConfig(device="cpu", representation_gib=0.0, num_workers=0))
        result = audit_features(features, config, out=out)
        page = write_report(out)
        assert any(cluster.is_suspect for cluster in result.audit.clusters), result.audit.verdict
        found["page_mb"] = round((out / "report.html").stat().st_size / 1e6, 2)
        assert page is not None
    else:
        data = read_features(features, memory_limit_gib=0.0).data
        seen = Seen(
            values={name: data.splits[name].inputs for name in ("train", "val")},  # type: ignore[misc]
            labels={name: data.splits[name].labels for name in ("train", "val")},
            num_classes=data.num_classes,
            is_untrained=False,
            clustering=ClusteringConfig(),
            config=PseudoAttributeConfig(),
            seed=0,
        )
        attribute = infer_attribute(stage, seen)
        places = data.train.attributes
        assert places is not None
        agree = (attribute.splits["train"].ids == places[:, 0]).double().mean().item() if stage == "linear" else 1.0
        assert agree > 0.9, agree
    found["seconds"] = round(time.perf_counter() - begin, 2)
    found["cpu_seconds"] = round(time.process_time() - cpu, 2)
    found["peak_gib"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 3)
    return found


def measure(stage: str, num_samples: int, scratch: Path) -> dict[str, float]:
    """Run one stage in a process of its own, and add its figures to the table."""
    features = make_features(scratch, num_samples)
    out = Path(tempfile.mkdtemp(dir=scratch)) / "run"
    command = [sys.executable, __file__, "--stage", stage, "--features", str(features), "--out", str(out)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    shutil.rmtree(out.parent)
    if done.returncode:
        raise SystemExit(f"{stage} of {num_samples} samples failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{stage:<9} {num_samples:>10,} samples: {found}", flush=True)
    is_new = not TABLE.is_file()
    with TABLE.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerow({"stage": stage, "samples": num_samples, **found})
    return found


def read_table() -> dict[tuple[str, int], dict[str, str]]:
    """Return the measurements so far."""
    if not TABLE.is_file():
        return {}
    with TABLE.open(newline="") as file:
        return {(row["stage"], int(row["samples"])): row for row in csv.DictReader(file)}


def slope(points: list[tuple[int, float]]) -> float:
    """Return the slope of the least-squares line through the logarithms."""
    xs, ys = [math.log(x) for x, _ in points], [math.log(y) for _, y in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    return sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True)) / sum((x - mean_x) ** 2 for x in xs)


def write_results() -> None:
    """Write the page and the plot from the table."""
    import matplotlib as mpl

    mpl.use("agg")
    import matplotlib.pyplot as plt

    rows = read_table()
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    lines = []
    for stage, marker in zip(STAGES, "os^", strict=True):
        own = sorted((size, row) for (name, size), row in rows.items() if name == stage)
        if not own:
            continue
        for place, column in zip(axes, ("cpu_seconds", "peak_gib"), strict=True):
            place.plot([size for size, _ in own], [float(row[column]) for _, row in own], f"-{marker}", label=stage)
        points = [(size, float(row["cpu_seconds"])) for size, row in own]
        large = [point for point in points if point[0] >= 100_000]
        steep = f"{slope(points):.2f}" if len(points) > 1 else ""
        steep_large = f"{slope(large):.2f}" if len(large) > 1 else ""
        lines.append(f"| {stage} | {steep} | {steep_large} |")
    for place, title in zip(axes, ("CPU seconds, one thread", "peak memory, GiB"), strict=True):
        place.set(xscale="log", xlabel="samples", title=title)
        place.grid(alpha=0.3)
    axes[0].set(yscale="log")
    axes[1].axhline(4, color="#767676", linestyle="--", label="4 GiB")
    axes[1].set(ylim=(0, 4.4))
    axes[1].legend()
    figure.savefig(PLOT, dpi=110)
    sizes = sorted({size for _, size in rows})
    head = "| samples | " + " | ".join(f"{stage}: CPU s | {stage}: GiB" for stage in STAGES) + " | page, MB |"
    body = []
    for size in sizes:
        cells = []
        for stage in STAGES:
            row = rows.get((stage, size))
            mark = "†" if row and row["note"] else ""
            cells += (
                [f"{float(row['cpu_seconds']):,.1f}{mark}", f"{float(row['peak_gib']):.2f}{mark}"]
                if row
                else ["not run", ""]
            )
        page = rows.get(("audit", size), {}).get("page_mb", "")
        body.append(f"| {size:,} | " + " | ".join(cells) + f" | {page} |")
    notes = sorted({row["note"] for row in rows.values()} - {""})
    table = [head, "|" + "---|" * (2 * len(STAGES) + 2), *body, *(f"\n† {note}" for note in notes)]
    text = [
        "# Time and memory by size",
        "",
        "`python benchmarks/scale.py` writes this page from docs/data/scale.csv; the script says what each column is.",
        f"Features of {DIM} numbers in 16 bits, {NUM_CLASSES} classes, a planted shortcut; on disk at every size; one",
        "thread, one run each, on a machine with 2 CPU cores that other work shared. So the times are CPU seconds of",
        "the process, not wall time.",
        "",
        *table,
        "",
        "![CPU seconds and peak memory against the number of samples](../images/scale.png)",
        "",
        "Slope of the line through the logarithms of time and size (aim: at most 1.1):",
        "",
        "| | all sizes | from 100,000 on |",
        "|---|---|---|",
        *lines,
        "",
    ]
    PAGE.write_text("\n".join(text))
    before, _, rest = HOW_LARGE.read_text().partition(BEGIN)
    HOW_LARGE.write_text(f"{before}{BEGIN}\n{chr(10).join(table)}\n\n{END}{rest.partition(END)[2]}")
    print(f"wrote {PAGE.relative_to(ROOT)} and {PLOT.relative_to(ROOT)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=STAGES)
    parser.add_argument("--scratch", type=Path, help="folder of the features (12 GB); a temporary one if not given")
    parser.add_argument("--only-write", action="store_true", help="write the page from the table that there is")
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--features", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.stage:
        print(json.dumps(run_stage(arguments.stage, arguments.features, arguments.out)))
        return
    if not arguments.only_write:
        scratch = arguments.scratch or Path(tempfile.mkdtemp())
        try:
            for size in arguments.sizes:
                for stage in arguments.stages:
                    if (stage, size) not in read_table():
                        measure(stage, size, scratch)
        finally:
            if arguments.scratch is None:
                shutil.rmtree(scratch)
    write_results()


if __name__ == "__main__":
    main()
