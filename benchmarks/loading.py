"""Speed of loading images, against the speed of training MobileNetV2 on them.

The images are those of ISIC, files of 200 x 150 pixels for networks of 96 px. They are in the folder that the
environment variable PRUSC_DATA names, or in `--data`. Six variants run in turn, round by round:

* training: forward, backward and AdamW on batches that are ready in memory;
* from files: `prusc.engine.training.train_weights` on files, which threads decode while the network trains;
* decoding: `prusc.data.images.load_images`, the threads that fill the memory before a run;
* one by one: `prusc.data.batches.take_inputs` on files, as training takes data beyond the memory limit;
* loader: `prusc.data.batches.iterate_batches` on files, with loader processes, as extraction takes such data;
* memory: `prusc.data.batches.take_inputs` and the transform, in random order, as for decoded data that are kept.

The ratio of the second one tells whether the network is kept fed. The ratio of CPU seconds beside it is what would be
left if the cores had nothing to spare; other load on the machine hardly changes it. The other variants do not overlap
with training. Their ratios tell how much faster than training the images arrive if loading has the cores to itself.

    PRUSC_DATA=... python benchmarks/loading.py
"""

import argparse
import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from interleaved import describe, interleave, median_ratio
from torch.nn import functional as F

from prusc.config import RuntimeConfig, StickerConfig
from prusc.data import load_data
from prusc.data.batches import iterate_batches, take_inputs
from prusc.data.images import ImageFiles, load_images
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.feed import Feed
from prusc.engine.runtime import Runtime
from prusc.engine.training import Schedule, train_weights
from prusc.models.build import build_model
from prusc.models.calls import call_model


def training_variant(
    model_name: str, images: torch.Tensor, batch_size: int, transform: InputTransform
) -> Callable[[], None]:
    """Return one pass of training over the images."""
    model = build_model(model_name, 2, generator=torch.Generator().manual_seed(0)).train()
    optimizer = torch.optim.AdamW(model.parameters(), foreach=True)
    labels = torch.arange(len(images)) % 2

    def run() -> None:
        for start in range(0, len(images), batch_size):
            loss = F.cross_entropy(
                call_model(model, transform(images[start : start + batch_size])), labels[start : start + batch_size]
            )
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()

    return run


def from_files_variant(
    model_name: str, files: ImageFiles, batch_size: int, transform: InputTransform, num_workers: int
) -> Callable[[], None]:
    """Return one pass of training over files."""
    model = build_model(model_name, 2, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(len(files)) % 2
    split = Split(files, labels, None, tuple(map(str, range(len(files)))))
    feed = Feed(split, transform, Runtime(RuntimeConfig(device="cpu", num_workers=num_workers)))

    def run() -> None:
        batches = torch.arange(len(files)).split(batch_size)
        schedule = Schedule(batches, len(batches), 1e-3, 1e-2)
        train_weights(model, feed, schedule, generator=torch.Generator().manual_seed(0), name="training")

    return run


def count_cpu(run: Callable[[], None], seconds: list[float]) -> Callable[[], None]:
    """Return the variant, which appends its CPU seconds, those of all threads."""

    def counted() -> None:
        begin = time.process_time()
        run()
        seconds.append(time.process_time() - begin)

    return counted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("PRUSC_DATA", ".")) / "isic")
    parser.add_argument("--model", default="torchvision/mobilenet_v2")
    parser.add_argument("--image-size", type=int, default=96)
    parser.add_argument("--num-images", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--num-workers", type=int, default=RuntimeConfig().num_workers)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--stickers", action="store_true", help="put a sticker on every image, off the lesion")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)

    size, count = arguments.image_size, arguments.num_images
    stickers = StickerConfig(train_shares=(1.0, 1.0)) if arguments.stickers else None
    data = load_data(str(arguments.data), image_size=size, memory_limit_bytes=0, stickers=stickers)
    assert isinstance(data.train.inputs, ImageFiles)
    files = ImageFiles(data.train.inputs.paths[:count], size)
    transform = InputTransform(data.mean, data.std)
    images = load_images(files.paths, size)

    def decoding() -> None:
        load_images(files.paths, size)

    def one_by_one() -> None:
        for batch in torch.arange(count).split(arguments.batch_size):
            inputs = take_inputs(files, batch)
            assert isinstance(inputs, torch.Tensor)
            transform(inputs)

    def loader() -> None:
        batches = iterate_batches(
            files, torch.arange(count), batch_size=arguments.batch_size, num_workers=arguments.num_workers
        )
        for batch in batches:
            assert isinstance(batch, torch.Tensor)
            transform(batch)

    def memory() -> None:
        for batch in torch.randperm(count, generator=torch.Generator().manual_seed(0)).split(arguments.batch_size):
            inputs = take_inputs(images, batch)
            assert isinstance(inputs, torch.Tensor)
            transform(inputs)

    train = training_variant(arguments.model, images, arguments.batch_size, transform)
    fed = from_files_variant(arguments.model, files, arguments.batch_size, transform, arguments.num_workers)
    cpu: dict[str, list[float]] = {"training": [], "from_files": []}
    variants = {
        "training": count_cpu(train, cpu["training"]),
        "from_files": count_cpu(fed, cpu["from_files"]),
        "decoding": decoding,
        "one_by_one": one_by_one,
        "loader": loader,
        "memory": memory,
    }
    seconds = interleave(variants, arguments.repeats, warmup=1)
    what = "with stickers" if arguments.stickers else "as they are"
    print(f"{arguments.model}, {size} px, batch {arguments.batch_size}, {arguments.threads} threads")
    print(f"torch {torch.__version__}, {count} images of {arguments.data.name}, {what}")
    for name in seconds:
        print(f"  {name:<10} {describe(seconds, name)}   {count / min(seconds[name]):8.0f} images/s at best")
    ratios = {name: median_ratio(seconds, "training", name) for name in variants if name != "training"}
    # The first round is the warm-up.
    ratios["from_files_cpu"] = median_ratio({name: own[1:] for name, own in cpu.items()}, "training", "from_files")
    print(json.dumps({f"{name}_rate_to_training_rate": round(ratio, 2) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
