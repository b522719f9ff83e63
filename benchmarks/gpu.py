r"""What only a GPU can show, in one run of at most 4.5 minutes on one H100.

Parts, each written to ``--out`` as soon as it is measured, so that a run that is cut keeps what it has:

* mask_step: a step of mask learning against a plain training step, in turn (see ``mask_step.py``), and peak memory.
* extraction: `extract_representations` against the bare forward pass, in turn (see ``extraction.py``).
* masks: the same small problem on the CPU and on the device. Noise differs between devices as it does between seeds.
  So the masks agree in kind if CPU and device agree as well as two seeds on the CPU do.
* kmeans: `cluster_representations` with its choice of K, against one k-means of scikit-learn. Both run on the CPU.
* demo: ``prusc run`` with the default settings, end to end.

    python benchmarks/gpu.py --out gpu.json
    python benchmarks/gpu.py --out tiny.json --device cpu --tiny

From a bare checkout, with the packages that are missing there as wheels in a folder, a wheel of prusc among them (for
its metadata; the code is that of the checkout):

    python3 -m pip install -q --no-index --no-deps --target /tmp/whl WHEELS/*.whl
    PYTHONPATH=src:/tmp/whl python3 benchmarks/gpu.py --out "$OUT/gpu.json"
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import extraction
import mask_step
import torch
from interleaved import interleave, median_ratio
from torch import nn

import prusc
from prusc.config import ClusteringConfig, ERMConfig, MaskConfig, RuntimeConfig
from prusc.data.transforms import InputTransform
from prusc.engine.feed import Feed
from prusc.engine.runtime import Runtime, stage_generator
from prusc.masks import BinaryMask
from prusc.models.build import SmallCNN
from prusc.stages.erm import train_erm

BUDGET_SECONDS = 255
"""No part begins later, so that the run ends before 4.5 minutes."""
RESERVED_SECONDS = 60
"""What the demo leaves for the part after it."""


@dataclass(frozen=True)
class Size:
    """How large each part is."""

    model: str
    image_size: int
    batch_size: int
    rounds: int
    num_images: int
    extraction_rounds: int
    mask_images: int
    mask_steps: int
    num_points: int
    dim: int
    demo_options: tuple[str, ...]


FULL = Size("resnet50", 224, 128, 30, 2048, 9, 2000, 150, 160_000, 512, ())
TINY = Size(
    model="small-cnn",
    image_size=28,
    batch_size=16,
    rounds=2,
    num_images=32,
    extraction_rounds=2,
    mask_images=200,
    mask_steps=4,
    num_points=600,
    dim=16,
    demo_options=(
        *("--erm.epochs", "1", "--masks.steps", "2", "--masks.batch-size", "32", "--masks.snapshots", "1"),
        *("--finetune.head-l2", "1", "--finetune.steps", "1", "--finetune.learning-rates", "1e-3"),
        *("--clustering.candidates", "2", "4"),
    ),
)


def measure_mask_step(size: Size, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time steps in turn, then measure the peaks of memory."""
    settings = argparse.Namespace(**vars(arguments), model=size.model, batch_size=size.batch_size)
    setting = mask_step.make_setting(settings, size.image_size)
    variants = {"plain": mask_step.plain_variant(setting), "mask": mask_step.mask_variant(setting)}
    seconds = interleave(variants, size.rounds, warmup=min(5, size.rounds))
    variants.clear()
    mask_peak, frozen_peak, weight_bytes = mask_step.measure_memory(setting)
    return {
        "model": size.model,
        "image_size": size.image_size,
        "batch_size": size.batch_size,
        "mask_to_plain": median_ratio(seconds, "mask", "plain"),
        "milliseconds": milliseconds(seconds),
        "peak_mib_of_mask_learning": mask_peak / 2**20,
        "peak_mib_of_frozen_network": frozen_peak / 2**20,
        "extra_bytes_per_weight_byte": (mask_peak - frozen_peak) / weight_bytes,
    }


def measure_extraction(size: Size, arguments: argparse.Namespace) -> dict[str, Any]:
    """Time extraction and the bare forward pass in turn."""
    settings = argparse.Namespace(
        **vars(arguments), num_images=size.num_images, batch_size=size.batch_size, repeats=size.extraction_rounds
    )
    case = extraction.Case(size.model, size.image_size, channels_last=arguments.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        seconds = extraction.time_case(case, settings, Path(folder))
    return {
        "num_images": size.num_images,
        "extraction_rate_to_bare_rate": median_ratio(seconds, "bare", "extraction"),
        "images_per_second": {name: size.num_images / statistics.median(own) for name, own in seconds.items()},
        "milliseconds": milliseconds(seconds),
    }


def compare_masks(size: Size, arguments: argparse.Namespace) -> dict[str, Any]:
    """Learn masks of one trained network with one seed on both devices, and with another seed on the CPU."""
    data = prusc.load_data("fashion-stickers")
    few = data.train.subset(range(min(size.mask_images, len(data.train))))
    cpu, device = (Runtime(RuntimeConfig(device=name)) for name in ("cpu", arguments.device))
    transform = InputTransform(data.mean, data.std)
    torch.manual_seed(0)
    network = SmallCNN(data.num_classes)
    train_erm(network, Feed(few, transform, cpu), ERMConfig(epochs=2), seed=0)
    # The cells of the stickers themselves: which attribute judges is not what is compared here.
    cells = prusc.Cells(few.labels, few.attributes[:, 0])
    draws = prusc.build_debiasing_set(cells)
    config = MaskConfig(steps=size.mask_steps, batch_size=128 if size is FULL else 32, snapshots=1)

    def learn(runtime: Runtime, seed: int) -> tuple[BinaryMask, float]:
        model: nn.Module = runtime.place(network)
        start = time.perf_counter()
        generator = stage_generator(seed, "masks")
        learned = prusc.learn_masks(model, Feed(few, transform, runtime), draws, config, generator=generator)
        runtime.place(network), cpu.place(network)
        return learned.final, time.perf_counter() - start

    (on_cpu, cpu_seconds), (on_device, device_seconds) = learn(cpu, 0), learn(device, 0)
    other_seed, _ = learn(cpu, 1)
    return {
        "steps": config.steps,
        "density": {"cpu": on_cpu.density, "device": on_device.density, "cpu, other seed": other_seed.density},
        "agreement": {
            "cpu and device": agreement(on_cpu, on_device),
            "cpu and other seed": agreement(on_cpu, other_seed),
        },
        "largest_difference_of_a_layer": {
            "cpu and device": largest_difference(on_cpu, on_device),
            "cpu and other seed": largest_difference(on_cpu, other_seed),
        },
        "seconds": {"cpu": cpu_seconds, "device": device_seconds},
    }


def agreement(one: BinaryMask, other: BinaryMask) -> float:
    """Return the share of weights that both masks treat alike."""
    same = [(one.tensors[name].cpu() == other.tensors[name].cpu()).flatten() for name in one.tensors]
    return torch.cat(same).double().mean().item()


def largest_difference(one: BinaryMask, other: BinaryMask) -> float:
    """Return the largest difference of the density of a layer."""
    return max(abs(share - other.density_per_layer[name]) for name, share in one.density_per_layer.items())


def measure_kmeans(size: Size, _: argparse.Namespace) -> dict[str, Any]:
    """Time one k-means of scikit-learn, then the whole stage with its choice of K."""
    from sklearn.cluster import KMeans

    generator = torch.Generator().manual_seed(0)
    centres = torch.randn(16, size.dim, generator=generator)
    which = torch.randint(16, (size.num_points,), generator=generator)
    points = centres[which] + 2 * torch.randn(size.num_points, size.dim, generator=generator)
    start = time.perf_counter()
    KMeans(16, n_init=1, random_state=0).fit(nn.functional.normalize(points, dim=1).double().numpy())
    one = time.perf_counter() - start
    print(f"  one k-means of scikit-learn, K = 16: {one:.1f} s", flush=True)
    start = time.perf_counter()
    found = prusc.cluster_representations(points, ClusteringConfig())
    chosen = time.perf_counter() - start
    return {
        "num_points": size.num_points,
        "dim": size.dim,
        "device": "cpu",
        "seconds_of_one_kmeans": one,
        "seconds_with_choice_of_k": chosen,
        "ratio": chosen / one,
        "chosen_k": found.num_clusters,
    }


def run_demo(size: Size, arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the demo's command in a process of its own, for the time that is left."""
    left = max(arguments.deadline - RESERVED_SECONDS - time.monotonic(), 1)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "run"
        command = [sys.executable, "-m", "prusc", "run", "--out", str(out), "--runtime.device", arguments.device]
        start = time.perf_counter()
        done = subprocess.run([*command, *size.demo_options], capture_output=True, text=True, timeout=left, check=False)
        seconds = time.perf_counter() - start
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}: {done.stderr[-2000:]}")
        metrics = json.loads((out / "metrics.json").read_text("utf-8"))
        return {
            "seconds": seconds,
            "seconds_of_stages": metrics["seconds"],
            "verdict": metrics["verdict"],
            "chosen": metrics["chosen"]["subnetwork"],
            "worst_group_accuracy": {
                name: splits["test"]["worst_group_accuracy"] for name, splits in metrics["results"].items()
            },
            "files": sorted(path.name for path in out.iterdir()),
        }


PARTS: Mapping[str, Callable[[Size, argparse.Namespace], dict[str, Any]]] = {
    "mask_step": measure_mask_step,
    "extraction": measure_extraction,
    "masks": compare_masks,
    "demo": run_demo,
    "kmeans": measure_kmeans,
}


def milliseconds(seconds: Mapping[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return median, smallest and largest time of each variant."""
    return {
        name: {"median": 1000 * statistics.median(own), "min": 1000 * min(own), "max": 1000 * max(own)}
        for name, own in seconds.items()
    }


def describe_machine(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the names of device and software."""
    is_cuda = arguments.device == "cuda"
    return {
        "device": torch.cuda.get_device_name() if is_cuda else f"CPU, {torch.get_num_threads()} threads",
        "cores": os.cpu_count(),
        "precision": arguments.precision,
        "channels_last": arguments.channels_last,
        "torch": torch.__version__,
        "python": platform.python_version(),
        "size": "tiny" if arguments.tiny else "full",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="JSON file, written after each part")
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed"), help="bf16-mixed on a GPU if not given")
    parser.add_argument("--channels-last", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--tiny", action="store_true", help="a dry run of a minute, whose figures mean nothing")
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=tuple(PARTS))
    parser.add_argument("--budget", type=float, default=BUDGET_SECONDS, help="seconds; no part begins after them")
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        parser.error("no GPU is here; --device cpu --tiny runs every part once")
    if arguments.precision is None:
        arguments.precision = "bf16-mixed" if arguments.device == "cuda" else "32-true"
    begin = time.monotonic()
    arguments.deadline = begin + arguments.budget
    size = TINY if arguments.tiny else FULL
    found: dict[str, Any] = {"machine": describe_machine(arguments), "parts": {}, "seconds": {}}
    for name in arguments.parts:
        print(f"{time.monotonic() - begin:6.1f} s  {name}", flush=True)
        start = time.monotonic()
        try:
            if start > arguments.deadline - RESERVED_SECONDS / 2:
                raise TimeoutError("no time was left")
            found["parts"][name] = PARTS[name](size, arguments)
        except Exception as error:  # noqa: BLE001 -- one part that fails must not cost the others
            found["parts"][name] = {"failed": f"{type(error).__name__}: {error}"}
        found["seconds"][name] = time.monotonic() - start
        if arguments.device == "cuda":
            found["peak_mib_so_far"] = torch.cuda.max_memory_allocated() / 2**20
        arguments.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        print(json.dumps(found["parts"][name]), flush=True)
    print(f"{time.monotonic() - begin:6.1f} s  done: {arguments.out}", flush=True)
    sys.exit(any("failed" in part for part in found["parts"].values()))


if __name__ == "__main__":
    main()
