"""Speed of loading images, against the speed of training MobileNetV2 on them.

The images are those of ISIC, files of 200 x 150 pixels for networks of 96 px. They are in the folder that the
environment variable PRUSC_DATA names, or in `--data`. Five variants run in turn, round by round:

* training: forward, backward and AdamW on batches that are ready in memory;
* decoding: `prusc.data.images.load_images`, the threads that fill the memory before a run;
* one by one: `prusc.data.batches.take_inputs` on files, as training takes data beyond the memory limit;
* loader: `prusc.data.batches.iterate_batches` on files, with loader processes, as extraction takes such data;
* memory: `prusc.data.batches.take_inputs` and the transform, in random order, as for decoded data that are kept.

Variants do not overlap. So a ratio tells how much faster than training the images arrive if loading has the cores to
itself. A loader that shares the cores with the training slows it.

    PRUSC_DATA=... python benchmarks/loading.py
"""

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

import torch
from interleaved import describe, interleave, median_ratio
from torch.nn import functional as F

from prusc.config import RuntimeConfig, StickerConfig
from prusc.data import load_data
from prusc.data.batches import iterate_batches, take_inputs
from prusc.data.images import ImageFiles, load_images
from prusc.data.transforms import InputTransform
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

    variants = {
        "training": training_variant(arguments.model, images, arguments.batch_size, transform),
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
    print(json.dumps({f"{name}_rate_to_training_rate": round(ratio, 2) for name, ratio in ratios.items()}))


if __name__ == "__main__":
    main()
