"""Overhead of a benchmark cell over a bare training loop of the same network.

* bare: a hand-written training loop on images that are ready in memory: it draws and normalises batches, then forward,
  cross-entropy, backward, AdamW and schedule.
* cell: `prusc.benchmark.work.run_task` on a cell of `prusc bench` with an equally long training (class-balanced ERM).
  It loads the data, takes over the shared ERM network and its clusters, trains, predicts, chooses and writes.

Both run in turn and are measured in CPU seconds of one thread, on which other load has little influence.
`ratio_to_bare_loop` is the median over the rounds of cell / bare.

    python benchmarks/bench_overhead.py
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import torch
from interleaved import median_ratio
from torch import Tensor
from torch.nn import functional as F

from prusc.benchmark import Cell, narrow, read_suite
from prusc.benchmark.work import cell_task, original_task, run_task
from prusc.config import RunConfig
from prusc.data import Data, load_data
from prusc.engine.training import one_cycle
from prusc.models.build import build_model


def run_bare(data: Data, config: RunConfig) -> None:
    """Train as long as the cell, without anything else."""
    erm = config.erm
    generator = torch.Generator().manual_seed(config.seed)
    model = build_model(config.model, data.num_classes, generator=generator)
    model.train()
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (data.mean, data.std))
    inputs, labels = data.train.inputs, data.train.labels
    assert isinstance(inputs, Tensor)
    weights = (1 / torch.bincount(labels).double())[labels]
    num_steps = erm.epochs * -(-len(labels) // erm.batch_size)
    optimizer = torch.optim.AdamW(model.parameters(), lr=erm.learning_rate, weight_decay=erm.weight_decay, foreach=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step, num_steps))
    for _ in range(num_steps):
        batch = torch.multinomial(weights, erm.batch_size, replacement=True, generator=generator)
        images = (inputs[batch].float() / 255 - mean) / std
        loss = F.cross_entropy(model(images), labels[batch])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        schedule.step()


def run_cell(cell: Cell, out: Path, original: Path) -> None:
    """Run the cell in a folder of its own, on the ERM network that exists already."""
    (out / cell.original_path.parent).mkdir(parents=True)
    (out / cell.original_path).symlink_to(original / cell.original_path)
    error = run_task(cell_task(cell, out), 1)
    if error is not None:
        raise SystemExit(error)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    matrix = narrow(read_suite("small"), methods=["class-balanced"], seeds=[0])
    cell = next(cell for cell in matrix.cells() if cell.method == "class-balanced" and cell.data == "fashion-stickers")
    seconds: dict[str, list[float]] = {"bare": [], "cell": []}
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        error = run_task(original_task(cell, root / "first"), 1)
        if error is not None:
            raise SystemExit(error)
        data = load_data(cell.config.data, **cell.config.data_options.given())
        for number in range(options.rounds):
            out = root / f"round-{number}"
            jobs = {
                "bare": lambda: run_bare(data, cell.config),
                "cell": lambda out=out: run_cell(cell, out, root / "first"),
            }
            for name in list(jobs) if number % 2 else reversed(list(jobs)):
                begin = time.process_time()
                jobs[name]()
                seconds[name].append(time.process_time() - begin)
    for name, values in seconds.items():
        print(f"{name}: {', '.join(f'{value:.1f}' for value in values)} CPU s")
    ratio = median_ratio(seconds, "cell", "bare")
    epochs = cell.config.erm.epochs
    print(f"ratio_to_bare_loop {ratio:.3f}   (small suite, fashion-stickers, small-cnn, {epochs} epochs)")
    if options.json is not None:
        options.json.write_text(json.dumps({"ratio_to_bare_loop": ratio, "seconds": seconds}))


if __name__ == "__main__":
    main()
