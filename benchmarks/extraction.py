"""Speed of extracting representations, against the bare forward pass of the same network.

* bare: the network in evaluation and inference mode, on float batches that are ready in memory; results are dropped.
* extraction: `prusc.stages.representations.extract_representations` on the stored images. It takes, moves and
  normalises uint8 batches, runs the network, and keeps representations and logits of the whole split.

Both process the same number of images in batches of the same size, in turn, round by round. `ratio_to_bare_forward` is
the rate of extraction divided by that of the bare pass (images per second), as median over the rounds. It is that of
the first case; the others are only printed.

In the last case the images are JPEG files, which two loader processes decode on demand. Decoding shares the cores with
the network. So this case shows the cost of decoding, not that of the loader.

    python benchmarks/extraction.py
"""

import argparse
import json
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from interleaved import describe, interleave, median_ratio
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import Dataset

from prusc.config import RuntimeConfig
from prusc.data.images import ImageFiles
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.feed import Feed
from prusc.engine.runtime import Runtime
from prusc.masks import module_modes
from prusc.models.build import build_model
from prusc.models.calls import call_model, to_device
from prusc.models.head import find_head
from prusc.stages.representations import extract_representations

NUM_CLASSES = 2
TRANSFORM = InputTransform(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


@dataclass(frozen=True)
class Case:
    model: str
    image_size: int
    channels_last: bool
    from_files: bool = False

    @property
    def title(self) -> str:
        layout = "channels-last" if self.channels_last else "contiguous"
        return f"{self.model}, {self.image_size} px, {layout}, {'JPEG files' if self.from_files else 'in memory'}"


CASES = (
    Case("resnet18", 64, channels_last=False),
    Case("mobilenetv2_100", 96, channels_last=False),
    Case("resnet18", 64, channels_last=True),
    Case("resnet18", 64, channels_last=False, from_files=True),
)


def measure(case: Case, arguments: argparse.Namespace, folder: Path) -> float:
    """Time one case and print it; return the ratio of the rates."""
    seconds = time_case(case, arguments, folder)
    ratio = median_ratio(seconds, "bare", "extraction")
    print(f"\n{case.title}: {arguments.num_images} images in batches of {arguments.batch_size}")
    for name in seconds:
        rate = arguments.num_images / min(seconds[name])
        print(f"  {name:<11} {describe(seconds, name)}   {rate:8.0f} images/s at best")
    print(f"  rate of extraction / rate of the bare forward pass = {ratio:.4f}")
    return ratio


def time_case(case: Case, arguments: argparse.Namespace, folder: Path) -> dict[str, list[float]]:
    """Return the seconds of each run, by variant."""
    runtime = Runtime(
        RuntimeConfig(
            device=arguments.device,
            precision=arguments.precision,
            channels_last=case.channels_last,
            eval_batch_size=arguments.batch_size,
        )
    )
    generator = torch.Generator().manual_seed(0)
    size = case.image_size
    images = torch.randint(256, (arguments.num_images, 3, size, size), dtype=torch.uint8, generator=generator)
    inputs: Tensor | Dataset[Tensor] = images
    if case.from_files:
        inputs = ImageFiles(write_jpegs(images, folder), size)
    split = Split(inputs, torch.zeros(len(images), dtype=torch.long), None, tuple(map(str, range(len(images)))))
    model = runtime.place(build_model(case.model, NUM_CLASSES, generator=generator))
    head_name = find_head(model, TRANSFORM(images[:2]).to(runtime.device), NUM_CLASSES)
    feed = Feed(split, TRANSFORM, runtime)

    variants = {
        "bare": bare_variant(model, images, runtime),
        "extraction": lambda: extract_representations(model, feed, head_name=head_name),
    }
    return interleave(variants, arguments.repeats, warmup=2)


def bare_variant(model: nn.Module, images: Tensor, runtime: Runtime) -> Callable[[], None]:
    """Return a pass over the images as ready float batches."""
    batches = [
        to_device(TRANSFORM(batch), runtime.device, channels_last=runtime.config.channels_last)
        for batch in images.split(runtime.config.eval_batch_size)
    ]

    def run() -> None:
        with torch.inference_mode(), module_modes(model, False), runtime.autocast():
            for batch in batches:
                call_model(model, batch)
        if runtime.device.type == "cuda":
            torch.cuda.synchronize()

    return run


def write_jpegs(images: Tensor, folder: Path) -> tuple[Path, ...]:
    """Write smooth images of four times the area, because photographs are larger than the inputs of a network."""
    paths = []
    for index, image in enumerate(images):
        small = Image.fromarray(image[:, ::8, ::8].permute(1, 2, 0).contiguous().numpy())
        paths.append(folder / f"{index}.jpg")
        small.resize((2 * image.shape[2], 2 * image.shape[1]), Image.Resampling.BICUBIC).save(paths[-1], quality=90)
    return tuple(paths)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--num-images", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=RuntimeConfig().eval_batch_size)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed", "16-mixed"), default="32-true")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"CPU, {arguments.threads} threads"
    print(f"{where}, {arguments.precision}, torch {torch.__version__}")
    with tempfile.TemporaryDirectory() as folder:
        ratios = [measure(case, arguments, Path(folder)) for case in CASES]
    print(json.dumps({"ratio_to_bare_forward": round(ratios[0], 5)}))


if __name__ == "__main__":
    main()
