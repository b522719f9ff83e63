r"""How much faster two processes are than one, on two cores: training, extraction and mask learning.

Each process has one thread. ``torch.distributed.run`` starts two of them, which share every batch, and then a single
one; both do the same work. Two figures for each part:

* wall: seconds of one process / seconds of two. It means something only if the two cores are otherwise idle.
* cpu: CPU seconds of one process / CPU seconds of the busier one of two. Other load hardly changes it, but it does not
  count waiting: the processes wait for each other in every step.

    python benchmarks/two_processes.py
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from prusc.config import MaskConfig, RuntimeConfig
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.feed import Feed
from prusc.engine.runtime import Runtime
from prusc.engine.training import Schedule, train_weights
from prusc.models.build import build_model
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import build_debiasing_set
from prusc.stages.mask_learning import learn_masks
from prusc.stages.representations import extract_representations

PARTS = ("training", "extraction", "mask learning")
TRANSFORM = InputTransform(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


def make_parts(arguments: argparse.Namespace, runtime: Runtime) -> dict[str, Callable[[], Any]]:
    """Return what each part does; the images are random."""
    source = torch.Generator().manual_seed(0)
    num_images, size = arguments.num_images, arguments.image_size
    images = torch.randint(256, (num_images, 3, size, size), dtype=torch.uint8, generator=source)
    labels = torch.arange(num_images) % 2
    split = Split(images, labels, None, tuple(map(str, range(num_images))))
    feed = Feed(split, TRANSFORM, runtime)
    model = runtime.place(build_model(arguments.model, 2, generator=source))
    draws = build_debiasing_set(Cells(labels, torch.arange(num_images) // 2 % 4, num_classes=2, num_values=4))
    steps = num_images // arguments.batch_size
    config = MaskConfig(steps=steps, batch_size=arguments.batch_size, snapshots=1)

    def train() -> None:
        batches = torch.arange(steps * arguments.batch_size).split(arguments.batch_size)
        train_weights(model, feed, Schedule(batches, steps, 1e-3, 0.0), generator=source, name="training")

    return {
        "training": train,
        "extraction": lambda: extract_representations(model, feed),
        "mask learning": lambda: learn_masks(model, feed, draws, config),
    }


def work(arguments: argparse.Namespace) -> None:
    """Time the parts in this process, and write its seconds."""
    torch.set_num_threads(1)
    runtime = Runtime(
        RuntimeConfig(device="cpu", num_workers=0, eval_batch_size=arguments.batch_size, channels_last=True)
    )
    found: dict[str, list[list[float]]] = {name: [] for name in PARTS}
    for number in range(1 + arguments.repeats):
        for name, run in make_parts(arguments, runtime).items():
            runtime.barrier()
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            seconds = [time.perf_counter() - wall, time.process_time() - cpu]
            # In the first round oneDNN chooses its kernels.
            if number:
                found[name].append(seconds)
    (arguments.work_in / f"{runtime.num_processes}-{runtime.rank}.json").write_text(json.dumps(found), "utf-8")


def start(num_processes: int, folder: Path) -> dict[str, list[tuple[float, float]]]:
    """Run processes, and return wall and CPU seconds of the slowest one, for each part and round."""
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes))
    script = (str(Path(__file__).resolve()), *sys.argv[1:], "--work-in", str(folder))
    subprocess.run([sys.executable, *torchrun, *script], check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    each = [json.loads((folder / f"{num_processes}-{rank}.json").read_text()) for rank in range(num_processes)]
    return {
        name: [
            (max(seconds[0] for seconds in rounds), max(seconds[1] for seconds in rounds))
            for rounds in zip(*(own[name] for own in each), strict=True)
        ]
        for name in PARTS
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="torchvision/mobilenet_v2")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--num-images", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--work-in", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work_in is not None:
        work(arguments)
        return
    with tempfile.TemporaryDirectory() as name:
        two, one = (start(number, Path(name)) for number in (2, 1))
    print(
        f"{arguments.model}, {arguments.image_size} px, batch {arguments.batch_size}, {arguments.num_images} images, "
        f"median of {arguments.repeats}, torch {torch.__version__}, load average {os.getloadavg()[0]:.1f}"
    )
    figures = {}
    for part in PARTS:
        for position, kind in enumerate(("wall", "cpu")):
            alone, shared = (statistics.median(seconds[position] for seconds in run[part]) for run in (one, two))
            figures[f"{part}, {kind}"] = round(alone / shared, 3)
            print(
                f"  {part:<14} {kind:<5} one {alone:7.2f} s   two {shared:7.2f} s   {alone / shared:.2f} times as fast"
            )
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
