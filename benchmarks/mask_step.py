r"""Time and memory of a mask learning step, against a plain training step and the public code's scheme.

Three variants of one step, on the same network, data, batch size and kind of optimiser (Adam, fused):

* plain: an ordinary training step. Draw a batch, forward, cross-entropy, backward, Adam on all weights.
* mask: `prusc.stages.mask_step.mask_step`, the code that `learn_masks` runs. Draw the same way, sample a mask for
  every weight, forward, cross-entropy and contrastive loss over all pairs, backward, sparsity gradient, Adam on all
  logits.
* per anchor: the public code's scheme, with the gradient that it lacks. After the forward pass of the batch come two
  more for every anchor: one of its positives (its class, another cluster), one of its negatives (its cluster, another
  class). Each forward pass samples new masks, as any call of a masked network does. The graph of each anchor is freed
  before the next one is built, because all graphs together would need several gigabytes.

The variants run in turn, round by round. A ratio is the median over the rounds.

Memory: `extra_bytes_per_weight_byte` is a difference of two peaks of PyTorch's allocator, divided by the bytes of the
masked weights. The first peak is that of mask learning: making the masks and the optimiser, then steps. The second one
is that of forward and backward passes of the frozen network on the same batch, without weight gradients or an
optimiser. Both start with network and data in place. On a CPU, PyTorch's profiler reports every allocation and release,
so the figure is exact and repeatable, unlike resident memory. On a GPU it is `torch.cuda.max_memory_allocated`. The
scratch memory of oneDNN is not counted; it is equal in both.

    python benchmarks/mask_step.py
    python benchmarks/mask_step.py --device cuda --precision bf16-mixed --channels-last --scheme-repeats 0 \
        --model resnet50 --batch-size 128 --image-size 224 --repeats 60
"""

import argparse
import copy
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # keeps the profiler silent

import torch
from interleaved import describe, interleave, median_ratio
from torch import Tensor, nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from prusc.config import MaskConfig, RuntimeConfig
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.feed import Feed
from prusc.engine.process import keep_freed_memory
from prusc.engine.runtime import Runtime
from prusc.engine.training import check_finite
from prusc.masks import MaskedModel, module_modes
from prusc.models.build import build_model
from prusc.models.calls import call_model
from prusc.models.head import RepresentationTap, find_head
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import DebiasingSet, build_debiasing_set
from prusc.stages.mask_step import mask_optimizer, mask_step, sparsity_gradient

NUM_CLASSES, NUM_CLUSTERS, NUM_IMAGES = 2, 8, 512
TRANSFORM = InputTransform(mean=(0.5, 0.5, 0.5), std=(0.25, 0.25, 0.25))


@dataclass(frozen=True)
class Setting:
    """Network, data and settings that all variants share."""

    model: nn.Module
    head_name: str
    feed: Feed
    debiasing_set: DebiasingSet
    config: MaskConfig
    generator: torch.Generator

    @property
    def runtime(self) -> Runtime:
        """Where everything is computed."""
        return self.feed.runtime

    def draw_batch(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return inputs, labels and cluster ids: a batch, loaded as `learn_masks` loads it."""
        indices = self.debiasing_set.draw(self.config.batch_size, self.generator)
        cluster_ids = self.debiasing_set.cells.attribute_ids[indices].to(self.runtime.device)
        return self.feed.take(indices), self.feed.take_labels(indices), cluster_ids

    def mask_everything(self) -> tuple[MaskedModel, torch.optim.Optimizer]:
        """Return the masked network and the optimiser of its logits."""
        noise = torch.Generator(device=self.runtime.device).manual_seed(1)
        masked = MaskedModel(self.model, initial_logit=self.config.initial_logit, generator=noise)
        return masked, mask_optimizer(masked, self.config)


def make_setting(arguments: argparse.Namespace, image_size: int) -> Setting:
    """Build network and data: random images of two classes in eight clusters, every cell of the same size."""
    runtime = Runtime(
        RuntimeConfig(
            device=arguments.device, precision=arguments.precision, channels_last=arguments.channels_last, num_workers=0
        )
    )
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (NUM_IMAGES, 3, image_size, image_size), dtype=torch.uint8, generator=generator)
    labels = torch.arange(NUM_IMAGES) % NUM_CLASSES
    cluster_ids = torch.arange(NUM_IMAGES) // NUM_CLASSES % NUM_CLUSTERS
    cells = Cells(labels, cluster_ids, num_classes=NUM_CLASSES, num_values=NUM_CLUSTERS)
    split = Split(images, labels, None, tuple(map(str, range(NUM_IMAGES))))
    model = runtime.place(build_model(arguments.model, NUM_CLASSES, generator=generator))
    sample = TRANSFORM(images[:2]).to(runtime.device)
    return Setting(
        model=model,
        head_name=find_head(model, sample, NUM_CLASSES),
        feed=Feed(split, TRANSFORM, runtime),
        debiasing_set=build_debiasing_set(cells),
        config=MaskConfig(batch_size=arguments.batch_size, initial_logit=1.0, learning_rate=1e-2),
        generator=generator,
    )


def plain_variant(setting: Setting) -> Callable[[], None]:
    """Return an ordinary training step on a copy of the network."""
    model = copy.deepcopy(setting.model).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        inputs, labels, _ = setting.draw_batch()
        optimizer.zero_grad(set_to_none=True)
        with setting.runtime.autocast():
            logits = call_model(model, inputs)
            loss = F.cross_entropy(logits.float(), labels)
        loss.backward()
        check_finite(loss, 0, "plain step")
        optimizer.step()
        synchronize(setting)

    return step


def mask_variant(setting: Setting) -> Callable[[], None]:
    """Return the step of `learn_masks`."""
    masked, optimizer = setting.mask_everything()

    def step() -> None:
        with RepresentationTap(setting.model, setting.head_name) as tap:
            mask_step(
                masked, optimizer, tap, *setting.draw_batch(), config=setting.config, runtime=setting.runtime, step=1
            )
        synchronize(setting)

    return step


def per_anchor_variant(setting: Setting) -> Callable[[], None]:
    """Return a step of the public code's scheme with the gradient that it should have had."""
    masked, optimizer = setting.mask_everything()

    def step() -> None:
        with RepresentationTap(setting.model, setting.head_name) as tap:
            inputs, labels, cluster_ids = setting.draw_batch()
            with setting.runtime.autocast():
                logits = call_model(masked, inputs)
                cross_entropy = F.cross_entropy(logits.float(), labels)
            representations = tap.take()
            optimizer.zero_grad(set_to_none=True)
            # The anchors' own part of the gradient is gathered here and goes through the batch's graph once.
            anchors = representations.detach().requires_grad_()
            anchor_losses(masked, tap, anchors, inputs, labels, cluster_ids, setting)
            with sparsity_gradient(masked, setting.config):
                torch.autograd.backward([cross_entropy, representations], [None, anchors.grad])
            optimizer.step()
        synchronize(setting)

    return step


def anchor_losses(
    masked: MaskedModel,
    tap: RepresentationTap,
    anchors: Tensor,
    inputs: Tensor,
    labels: Tensor,
    cluster_ids: Tensor,
    setting: Setting,
) -> float:
    """Run two forward passes and a backward pass per anchor; return the contrastive loss."""
    same_class = labels[:, None] == labels[None, :]
    same_cluster = cluster_ids[:, None] == cluster_ids[None, :]
    positives, negatives = same_class & ~same_cluster, same_cluster & ~same_class
    num_anchors = int(positives.any(dim=1).sum())
    total = 0.0
    for index in range(len(labels)):
        if not bool(positives[index].any()):
            continue
        similarities = []
        for chosen in (positives[index], negatives[index]):
            if not bool(chosen.any()):
                continue
            with setting.runtime.autocast():
                call_model(masked, inputs[chosen])
            others = tap.take().float()
            cosine = F.cosine_similarity(anchors[index][None].float(), others)
            similarities.append(cosine / setting.config.contrastive_temperature)
        loss = (torch.logsumexp(torch.cat(similarities), dim=0) - similarities[0]).mean() / num_anchors
        (setting.config.beta * loss).backward()
        total += loss.item()
    return total


def synchronize(setting: Setting) -> None:
    """Wait until a GPU has finished its work."""
    if setting.runtime.device.type == "cuda":
        torch.cuda.synchronize()


def peak_bytes(setting: Setting, work: Callable[[], object]) -> int:
    """Return the peak bytes that PyTorch's allocator holds during some work, beyond those that it held before."""
    if setting.runtime.device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        kept = work()
        torch.cuda.synchronize()
        del kept
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True, acc_events=True) as profiler:
        kept = work()
    del kept
    # One event for each allocation (positive) and each release (negative).
    held = peak = 0
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        peak = max(peak, held)
    return peak


def measure_memory(setting: Setting, num_steps: int = 3) -> tuple[int, int, int]:
    """Return the peaks of mask learning and of the frozen network, and the bytes of the masked weights."""

    def frozen() -> None:
        for _ in range(num_steps):
            inputs, labels, _ = setting.draw_batch()
            # Without any gradient to compute, nothing would be kept for the backward pass.
            inputs.requires_grad_()
            with setting.runtime.autocast():
                loss = F.cross_entropy(call_model(setting.model, inputs).float(), labels)
            loss.backward()

    def mask_learning() -> Any:
        masked, optimizer = setting.mask_everything()
        with RepresentationTap(setting.model, setting.head_name) as tap:
            for step in range(num_steps):
                batch = setting.draw_batch()
                mask_step(masked, optimizer, tap, *batch, config=setting.config, runtime=setting.runtime, step=step + 1)
        return masked, optimizer

    wanted = [parameter.requires_grad for parameter in setting.model.parameters()]
    setting.model.requires_grad_(False)
    try:
        # The first run of a kernel may allocate memory that it keeps.
        frozen(), mask_learning()
        with module_modes(setting.model, True):
            frozen_peak = peak_bytes(setting, frozen)
        mask_peak = peak_bytes(setting, mask_learning)
    finally:
        for parameter, value in zip(setting.model.parameters(), wanted, strict=True):
            parameter.requires_grad_(value)
    masked, _ = setting.mask_everything()
    return mask_peak, frozen_peak, sum(logits.nbytes for logits in masked.mask_logits)


def report(title: str, seconds: dict[str, list[float]], **ratios: float) -> None:
    print(f"\n{title}")
    for name in seconds:
        print(f"  {name:<11} {describe(seconds, name)}")
    for name, ratio in ratios.items():
        print(f"  {name} = {ratio:.4f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15, help="rounds at 64 px; a third of them at larger sizes")
    parser.add_argument("--scheme-repeats", type=int, default=2, help="rounds with the scheme; 0 for none")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--model", default="resnet18", help="any timm name")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--image-size", type=int, nargs="+", default=[64, 224])
    parser.add_argument("--precision", choices=("32-true", "bf16-mixed", "16-mixed"), default="32-true")
    parser.add_argument("--channels-last", action=argparse.BooleanOptionalAction, default=RuntimeConfig().channels_last)
    parser.add_argument(
        "--keep-freed-memory",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="as the command line does; without it the C library's defaults",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.keep_freed_memory:
        keep_freed_memory()

    where = torch.cuda.get_device_name() if arguments.device == "cuda" else f"CPU, {arguments.threads} threads"
    layout = "channels-last" if arguments.channels_last else "contiguous"
    print(
        f"{arguments.model}, batch {arguments.batch_size}, {arguments.precision}, {layout}, {where}, "
        f"torch {torch.__version__}"
    )
    figures: dict[str, float] = {}
    for image_size in sorted(arguments.image_size):
        setting = make_setting(arguments, image_size)
        plain, mask = plain_variant(setting), mask_variant(setting)
        rounds = arguments.repeats if image_size <= 64 else max(arguments.repeats // 3, 1)
        seconds = interleave({"plain": plain, "mask": mask}, rounds, warmup=3 if image_size <= 64 else 2)
        ratio = median_ratio(seconds, "mask", "plain")
        figures[f"ratio_to_plain_step_{image_size}"] = ratio
        report(f"{image_size} px", seconds, mask_to_plain=ratio)
        if image_size == min(arguments.image_size):
            if arguments.scheme_repeats:
                variants = {"plain": plain, "mask": mask, "per anchor": per_anchor_variant(setting)}
                seconds = interleave(variants, arguments.scheme_repeats, warmup=0)
                ratio = median_ratio(seconds, "mask", "per anchor")
                figures["ratio_to_per_anchor_scheme"] = ratio
                in_plain_steps = median_ratio(seconds, "per anchor", "plain")
                report(
                    f"{image_size} px, per-anchor scheme",
                    seconds,
                    mask_to_per_anchor=ratio,
                    per_anchor_to_mask=1 / ratio,
                    per_anchor_to_plain=in_plain_steps,
                )
            mask_peak, frozen_peak, weight_bytes = measure_memory(setting)
            extra = (mask_peak - frozen_peak) / weight_bytes
            figures["extra_bytes_per_weight_byte"] = extra
            print(
                f"\n{image_size} px, memory: mask learning {mask_peak / 2**20:.1f} MiB, frozen network "
                f"{frozen_peak / 2**20:.1f} MiB, masked weights {weight_bytes / 2**20:.1f} MiB\n"
                f"  extra bytes per weight byte = {extra:.3f}"
            )
    print(json.dumps({name: round(value, 5) for name, value in figures.items()}))


if __name__ == "__main__":
    main()
