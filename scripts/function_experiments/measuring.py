"""Training, mask learning and rows of measurements that the experiments share."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.config import FunctionMaskConfig
from prusc.engine.runtime import global_randomness, stage_generator
from prusc.stages.evaluation import wilson_interval
from prusc.stages.modularity import (
    ALL_LAYERS,
    IGNORED,
    Examples,
    FunctionMasks,
    MaskedAccuracy,
    Overlap,
    compare_masks,
    cross_accuracy,
    half_mask_test,
    inverse_accuracy,
    learn_function_masks,
    stability,
)
from prusc.stages.modularity.functions import call_outputs, device_of

NOTHING = float("nan")


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        measure: Name, with the parts divided by ``/``.
        value: The number.
        low: Lower limit of its 95 % interval; not a number where there is none.
        high: Upper limit.
        num: Number of samples or weights behind it; 0 where there is none.
    """

    measure: str
    value: float
    low: float = NOTHING
    high: float = NOTHING
    num: int = 0


@dataclass(frozen=True)
class Training:
    """Training of a network on everything.

    Attributes:
        steps: Of Adam.
        batch_size: Samples per step.
        learning_rate: Of Adam.
        clip: Largest norm of the gradient; none if infinite.
    """

    steps: int
    batch_size: int = 128
    learning_rate: float = 1e-3
    clip: float = math.inf


@dataclass(frozen=True)
class Settings:
    """Everything that differs between the published and the scaled experiment.

    Attributes:
        width: Width of the layers of the network.
        training: Of the network.
        masks: Of each function's mask.
        num_layers: Hidden layers, or layers of each half of a transformer.
        num_samples: Training samples that are drawn or used; 0 for all there are.
        limit: Another size, whose meaning the experiment says.
    """

    width: int
    training: Training
    masks: FunctionMaskConfig
    num_layers: int = 4
    num_samples: int = 0
    limit: int = 0


@dataclass(frozen=True)
class Place:
    """Where an experiment reads and computes.

    Attributes:
        source: Folder of its files; ``None`` if it needs none, or was given none.
        device: Device of its networks.
    """

    source: Path | None = None
    device: torch.device = torch.device("cpu")  # noqa: RUF009


def make(
    build: type[nn.Module], *args: object, seed: int, device: torch.device | str = "cpu", **kwargs: object
) -> nn.Module:
    """Build a network with random weights that depend on the seed alone."""
    with global_randomness(stage_generator(seed, "network")):
        # The weights are drawn on the CPU, so that they are the same on every device.
        return build(*args, **kwargs).to(device)


def train(model: nn.Module, data: Examples, training: Training, *, seed: int) -> None:
    """Train a network on everything, in place."""
    generator, device = stage_generator(seed, "training"), device_of(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=training.learning_rate, fused=True)
    model.train()
    with global_randomness(generator):
        for step in range(training.steps):
            # The rate falls to 0 over the last fifth.
            share = min(1.0, (training.steps - step) / (0.2 * training.steps))
            optimizer.param_groups[0]["lr"] = training.learning_rate * share
            indices = torch.randint(len(data), (training.batch_size,), generator=generator)
            logits = call_outputs(model, data.take(indices), device)
            labels = data.take_labels(indices).to(device)
            loss = F.cross_entropy(logits.flatten(0, -2), labels.flatten(), ignore_index=IGNORED)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), training.clip)
            optimizer.step()
    model.eval()


def learn_twice(
    model: nn.Module, functions: Mapping[str, Examples], config: FunctionMaskConfig, *, seed: int
) -> tuple[FunctionMasks, FunctionMasks]:
    """Learn the masks of all functions with two seeds."""
    first, second = (
        learn_function_masks(model, functions, config, generator=stage_generator(seed, f"masks {number}"))
        for number in (1, 2)
    )
    return first, second


def describe_masks(
    model: nn.Module,
    masks: FunctionMasks,
    again: FunctionMasks,
    tests: Mapping[str, Examples],
    *,
    seed: int,
    controls: Sequence[str] = (),
) -> list[Figure]:
    """Return every measure of a set of masks: accuracies, overlaps, stability, shares, inverse and half masks."""
    comparison = compare_masks(masks, controls=controls)
    figures = [_accuracy("accuracy", entry) for entry in cross_accuracy(model, masks, tests).entries]
    figures += [_overlap("iou", overlap) for overlap in comparison.overlaps]
    figures += [
        Figure(f"subsetness/{o.layer}/{o.first}/{o.second}", o.subsetness, *o.subsetness_ci95)
        for o in comparison.overlaps
    ]
    figures += [_overlap("stability", overlap) for overlap in stability(masks, again)]
    for share in comparison.shares:
        figures.append(Figure(f"shared/{share.layer}/{share.name}", share.share, *share.share_ci95, share.num_kept))
        figures.append(Figure(f"density/{share.layer}/{share.name}", share.density, num=share.num_weights))
    for edges in ("inverted", "full", "ones"):
        inverse = inverse_accuracy(model, masks, tests, edges=edges)
        figures += [_accuracy(f"inverse {edges}", entry) for entry in inverse.entries]
    for half in half_mask_test(model, masks, tests, generator=stage_generator(seed, "halves")):
        figures.append(_named(f"half/whole/{half.function}", half.whole))
        figures.append(_named(f"half/without shared/{half.function}", half.without_shared))
        figures.append(_named(f"half/without private/{half.function}", half.without_private))
    return figures


def share_figure(measure: str, right: Tensor) -> Figure:
    """Return a share of samples with its Wilson interval."""
    count, num = int(right.sum()), len(right)
    return Figure(measure, count / num, *wilson_interval(count, num), num)


def mean_overlap(overlaps: Iterable[Overlap], layer: str = ALL_LAYERS) -> float:
    """Return the mean IoU in one layer."""
    found = [overlap.iou for overlap in overlaps if overlap.layer == layer]
    return sum(found) / len(found)


def _accuracy(kind: str, entry: MaskedAccuracy) -> Figure:
    return _named(f"{kind}/{entry.mask}/{entry.function}", entry)


def _named(name: str, entry: MaskedAccuracy) -> Figure:
    return Figure(name, entry.accuracy, *entry.ci95, entry.num_samples)


def _overlap(kind: str, overlap: Overlap) -> Figure:
    names = overlap.first if overlap.first == overlap.second else f"{overlap.first}/{overlap.second}"
    return Figure(f"{kind}/{overlap.layer}/{names}", overlap.iou, *overlap.iou_ci95, overlap.num_either)
