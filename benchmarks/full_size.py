"""Estimate time and memory of the full-size presets, from steps that are measured here on one CPU core.

No full-size run is made, and nothing runs on a GPU.

Measured, at two small batch sizes: a training step, a step of mask learning and an evaluation pass. The time is CPU
time, on which other load has little influence; the memory is the peak of PyTorch's allocator (see mask_step.py).

Counted: the images that each stage of a preset sends through the network, and the floating-point operations of a
forward pass and of a forward and backward pass. A multiplication and an addition count as two operations.

Estimated:

* memory at another batch size, on the straight line through the two measured sizes: activations grow with the batch,
  weights, gradients and optimiser do not. A GPU needs more, for cuDNN's workspaces, the CUDA context (some hundred MiB)
  and the allocator's rounding;
* hours of one core: images times seconds per image at the larger of the two batch sizes;
* hours elsewhere: operations divided by an assumed rate. A mask step counts as a training step.

Decoding is not counted, because it runs beside the network; see loading.py.

    python benchmarks/full_size.py
"""

import argparse
import copy
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from mask_step import TRANSFORM, Setting, make_setting, mask_variant, peak_bytes, plain_variant
from torch.utils.flop_counter import FlopCounterMode

from prusc.config import RunConfig
from prusc.config.presets import get_preset
from prusc.masks import module_modes
from prusc.models.calls import call_model

# Samples for training, validation and test; those of ISIC are HAM10000's in docs/results/real-images.md.
NUM_SAMPLES = {
    "celeba": (162_770, 19_867, 19_962),
    "waterbirds": (4_795, 1_199, 5_794),
    "isic": (5_980, 997, 3_038),
}


@dataclass(frozen=True)
class Images:
    """How many images a run sends through the network, each counted as often as it passes."""

    training: int
    masks: int
    evaluation: int


def count_images(config: RunConfig, num_train: int, num_val: int, num_test: int) -> Images:
    """Count the images of a run with a published preset, which refits no head and tries one learning rate."""
    finetune = config.finetune
    assert not finetune.head_l2
    assert config.masks.snapshots == 1
    trained = len(finetune.learning_rates) * finetune.steps * finetune.batch_size
    # Networks that are judged: the ERM network, the control and the masked one, before and after fine-tuning.
    judged = 2 + 2 * len(finetune.learning_rates)
    return Images(
        training=config.erm.epochs * num_train + 2 * trained,
        masks=config.masks.steps * config.masks.batch_size,
        # For clusters and judges, then val and test of the ERM network, the control and the chosen network. The 40
        # batches for the statistics of BatchNorm are left out.
        evaluation=num_train + num_val + judged * num_val + 3 * (num_val + num_test),
    )


def evaluation_variant(setting: Setting) -> Callable[[], None]:
    """Return a pass without gradients."""

    def step() -> None:
        with torch.inference_mode(), module_modes(setting.model, False):
            call_model(setting.model, setting.draw_batch()[0])

    return step


def count_operations(setting: Setting, image_size: int) -> tuple[int, int]:
    """Return the floating-point operations for one image: forward, and forward and backward."""
    model = copy.deepcopy(setting.model)
    inputs = TRANSFORM(torch.zeros(2, 3, image_size, image_size, dtype=torch.uint8))
    with FlopCounterMode(display=False) as forward:
        logits = call_model(model, inputs)
    with FlopCounterMode(display=False) as backward:
        logits.sum().backward()
    return forward.get_total_flops() // 2, (forward.get_total_flops() + backward.get_total_flops()) // 2


def measure(arguments: argparse.Namespace, batch_size: int) -> dict[str, tuple[float, int]]:
    """Return the median seconds and the peak bytes of each kind of step."""
    arguments = argparse.Namespace(**{**vars(arguments), "batch_size": batch_size})
    found = {}
    for name, make in (("training", plain_variant), ("masks", mask_variant), ("evaluation", evaluation_variant)):
        setting = make_setting(arguments, arguments.image_size)

        def work(make: Callable[[Setting], Callable[[], None]] = make, setting: Setting = setting) -> object:
            step = make(setting)
            for _ in range(2):
                step()
            return step

        work()
        # The peak includes what the variant makes itself: a copy of the network or mask logits, and the optimiser.
        # Without a copy, the network itself is added.
        weights = sum(tensor.nbytes for tensor in setting.model.state_dict().values())
        peak = peak_bytes(setting, work) + (0 if name == "training" else weights)
        step, seconds = make(setting), []
        for number in range(arguments.repeats + 1):
            begin = time.process_time()
            step()
            if number:
                seconds.append(time.process_time() - begin)
        found[name] = statistics.median(seconds), peak
        print(f"  {name:<10} batch {batch_size}: {found[name][0]:7.2f} s, {peak / 2**30:6.2f} GiB", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="resnet50.tv_in1k", help="any timm name")
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--batch-sizes", type=int, nargs=2, default=(4, 8), help="where steps are measured")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tera-per-second", type=float, default=10, help="assumed 10^12 operations a second elsewhere")
    arguments = parser.parse_args()
    arguments.device, arguments.precision, arguments.channels_last = "cpu", "32-true", False
    torch.set_num_threads(1)

    print(f"{arguments.model}, {arguments.image_size} px, one CPU core, torch {torch.__version__}")
    small, large = arguments.batch_sizes
    figures = {size: measure(arguments, size) for size in (small, large)}
    setting = make_setting(argparse.Namespace(**vars(arguments), batch_size=2), arguments.image_size)
    forward, both = count_operations(setting, arguments.image_size)
    print(f"operations an image: forward {forward / 1e9:.2f} x 10^9, forward and backward {both / 1e9:.2f} x 10^9")

    def memory(kind: str, batch_size: int) -> float:
        slope = (figures[large][kind][1] - figures[small][kind][1]) / (large - small)
        return (figures[large][kind][1] + slope * (batch_size - large)) / 2**30

    print(
        "memory on the line: "
        + ", ".join(
            f"{kind} at batch {size}: {memory(kind, size):.1f} GiB"
            for kind, size in (("training", 64), ("masks", 64), ("evaluation", 256))
        )
    )
    rate = 1e12 * arguments.tera_per_second
    for name, sizes in NUM_SAMPLES.items():
        config = get_preset(name)
        images = count_images(config, *sizes)
        per_image = {kind: figures[large][kind][0] / large for kind in ("training", "masks", "evaluation")}
        here = sum(getattr(images, kind) * seconds for kind, seconds in per_image.items()) / 3600
        operations = (images.training + images.masks) * both + images.evaluation * forward
        decoded = sum(sizes) * 3 * (config.data_options.image_size or 0) ** 2 / 2**30
        print(
            f"{name}: images for training {images.training:,}, masks {images.masks:,}, evaluation "
            f"{images.evaluation:,}; {operations / 1e15:.1f} x 10^15 operations; one core {here:.0f} h; at "
            f"{arguments.tera_per_second:g} x 10^12 a second {operations / rate / 3600:.2f} h; decoded images "
            f"{decoded:.1f} GiB"
        )


if __name__ == "__main__":
    main()
