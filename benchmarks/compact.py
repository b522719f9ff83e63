"""Size and speed of networks without some of their channels, against the dense network and against the ideal.

From every group of channels that can be removed (`prusc.models.channels.find_channels`) the same share stays, its
density. The network is then shrunk, and run in PyTorch and, as an exported file, in onnxruntime. Networks of all
densities run in turn, round by round. A ratio is the median over the rounds, so load that lasts longer than a round
does not change it. Ideal is a time in proportion to the operations.

    python benchmarks/compact.py --out docs/data/compact-speed.csv

``scripts/make_compact.py --tables-only`` then puts the table into docs/results/compact.md.
"""

import argparse
import copy
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from interleaved import interleave, median_ratio
from torch import Tensor, nn

from prusc.models.build import build_model
from prusc.models.channels import agree, find_channels, hide
from prusc.models.flops import count_flops
from prusc.models.head import find_head
from prusc.models.shrinking import shrink
from prusc.runs.export.formats import INPUT, get_format, write_network

DENSITIES = (1.0, 0.75, 0.5, 0.25, 0.125)
NUM_CLASSES = 10


def make_networks(name: str, densities: list[float], sample: Tensor) -> dict[float, nn.Module]:
    """Return the dense network and its smaller versions, each checked against the dense one with hidden channels."""
    dense = build_model(name, NUM_CLASSES, generator=torch.Generator().manual_seed(0)).eval()
    channels = find_channels(dense, sample, head_name=find_head(dense, sample))
    networks = {1.0: dense}
    for density in densities:
        if density == 1:
            continue
        kept = [torch.arange(group.size) < max(round(density * group.size), 1) for group in channels.groups]
        hidden = copy.deepcopy(dense)
        hide(hidden, channels.groups, kept)
        networks[density] = shrink(hidden, channels.groups).eval()
        with torch.no_grad():
            assert agree(networks[density](sample), hidden(sample)), (name, density)
    return networks


def torch_runner(network: nn.Module, inputs: Tensor, _: Path) -> Callable[[], object]:
    """Return a forward pass in PyTorch."""

    def run() -> None:
        with torch.inference_mode():
            network(inputs)

    return run


def onnx_runner(_: nn.Module, inputs: Tensor, path: Path) -> Callable[[], object]:
    """Return a forward pass in onnxruntime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    array = inputs.numpy()
    return lambda: session.run(None, {INPUT: array})


RUNNERS = {"PyTorch": torch_runner, "onnxruntime": onnx_runner}


def measure(name: str, arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Return one row per density, engine and batch size."""
    sample = torch.randn(2, 3, arguments.image_size, arguments.image_size, generator=torch.Generator().manual_seed(0))
    networks = make_networks(name, arguments.densities, sample)
    onnx = get_format("onnx")
    facts = {}
    for density, network in networks.items():
        path = folder / f"{name.replace('/', '-')}-{density}.onnx"
        write_network(onnx, network, sample, path)
        facts[density] = {
            "parameters": sum(parameter.numel() for parameter in network.parameters()),
            "operations": count_flops(network, sample[:1]).total,
            "bytes": path.stat().st_size,
            "path": path,
        }
    rows = []
    for engine, make in RUNNERS.items():
        for batch_size in arguments.batch_sizes:
            inputs = sample[:1].expand(batch_size, -1, -1, -1).contiguous()
            runs = {str(density): make(networks[density], inputs, facts[density]["path"]) for density in networks}
            seconds = interleave(runs, arguments.rounds * (4 if batch_size == 1 else 1), warmup=2)
            for density in networks:
                share = facts[density]["operations"] / facts[1.0]["operations"]
                time = median_ratio(seconds, str(density), "1.0")
                own = {key: value for key, value in facts[density].items() if key != "path"}
                rows.append(
                    {
                        "network": name,
                        "image_size": arguments.image_size,
                        "engine": engine,
                        "batch": batch_size,
                        "density": density,
                        **own,
                        "share_of_operations": share,
                        "share_of_time": time,
                        "time_to_ideal": time / share,
                        "milliseconds": 1000 * min(seconds[str(density)]),
                    }
                )
                print(
                    f"{name}, {engine}, batch {batch_size}, density {density}: operations {share:.3f}, time {time:.3f}"
                )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="CSV file to write")
    parser.add_argument("--models", nargs="+", default=["resnet18", "torchvision/mobilenet_v2"])
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--densities", type=float, nargs="+", default=list(DENSITIES))
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 64])
    parser.add_argument(
        "--rounds", type=int, default=5, help="of the largest batch; batches of 1 run four times as often"
    )
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name in arguments.models:
            rows += measure(name, arguments, Path(folder))
            if arguments.out is not None:
                pd.DataFrame(rows).to_csv(arguments.out, index=False, float_format="%.5g")
    print(pd.DataFrame(rows).to_string())


if __name__ == "__main__":
    main()
