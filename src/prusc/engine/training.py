"""The loop that trains weights, for ERM and for fine-tuning under a mask."""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.engine.batch_norm import synchronized_batch_norm
from prusc.engine.feed import Feed
from prusc.engine.runtime import global_randomness
from prusc.errors import TrainingError
from prusc.masks import BinaryMask, keep_zeros, module_modes
from prusc.models.calls import call_model

StepCallback = Callable[[int, float], None]
LossFunction = Callable[[nn.Module, Tensor, Tensor], Tensor]


def epoch_batches(num_samples: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the index batches of one epoch in random order, without a last batch of a single sample."""
    order = torch.randperm(num_samples, generator=generator)
    for start in range(0, num_samples, batch_size):
        batch = order[start : start + batch_size]
        # BatchNorm cannot normalise a batch of one.
        if len(batch) > 1 or num_samples == 1:
            yield batch


def num_epoch_batches(num_samples: int, batch_size: int) -> int:
    """Return how many batches `epoch_batches` yields."""
    full, rest = divmod(num_samples, batch_size)
    return full + (rest > 1 or num_samples == 1)


@dataclass(frozen=True, eq=False)
class Schedule:
    """The batches and the learning rate of one training.

    Attributes:
        batches: Index batches, the same in every process; each process trains on its share. They are drawn some steps
            ahead, so they must not depend on the training.
        num_steps: Number of batches.
        learning_rate: Peak of the one-cycle schedule, reached after 10 % of the steps.
        weight_decay: Of AdamW.
    """

    batches: Iterable[Tensor]
    num_steps: int
    learning_rate: float
    weight_decay: float


def train_weights(
    model: nn.Module,
    feed: Feed,
    schedule: Schedule,
    *,
    generator: torch.Generator,
    name: str,
    loss_function: LossFunction | None = None,
    mask: BinaryMask | None = None,
    after_step: StepCallback | None = None,
) -> None:
    """Train a network in place, by cross-entropy or another loss, with AdamW and a one-cycle cosine schedule.

    Args:
        model: On the feed's device.
        feed: The split that the batches index into, with its augmentation.
        schedule: Batches, learning rate and weight decay.
        generator: Decides augmentation and dropout.
        name: Names this training in errors.
        loss_function: Called with the network, its inputs and their indices in the split. It returns the mean over
            these samples of the loss. ``None``: cross-entropy with the labels.
        mask: If given, pruned weights stay zero.
        after_step: Called with the number of steps done and the loss.

    Raises:
        TrainingError: If the loss is not finite.
    """
    runtime, num_steps = feed.runtime, schedule.num_steps
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        parameters, lr=schedule.learning_rate, weight_decay=schedule.weight_decay, foreach=True
    )
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step, num_steps))
    if mask is not None:
        keep_zeros(model, mask, optimizer)
    with (
        module_modes(model, True),
        synchronized_batch_norm(model, runtime),
        global_randomness(generator),
        feed.ahead(_load(feed, schedule.batches, generator)) as loaded,
    ):
        for step, (batch, part, inputs) in enumerate(loaded):
            with runtime.autocast():
                if loss_function is None:
                    loss = F.cross_entropy(call_model(model, inputs).float(), feed.take_labels(part))
                else:
                    loss = loss_function(model, inputs, part)
            # So the mean over processes is the mean over the batch, even if the parts differ in size.
            loss = loss * (len(part) * runtime.num_processes / len(batch))
            mean_loss = runtime.average(loss)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            # Reading the loss waits for a GPU, which has the backward pass to do meanwhile.
            value = check_finite(mean_loss, step, name)
            runtime.average_gradients(parameters)
            optimizer.step()
            rate.step()
            if after_step is not None:
                after_step(step + 1, value)


def _load(feed: Feed, batches: Iterable[Tensor], generator: torch.Generator) -> Iterator[tuple[Tensor, Tensor, Any]]:
    """Yield each batch, the part of it that this process trains on, and the inputs of that part."""
    for step, batch in enumerate(batches):
        part = feed.runtime.shard(batch)
        yield batch, part, feed.take(part, generator=feed.runtime.augmentation_generator(generator, step))


def one_cycle(step: int, num_steps: int) -> float:
    """Return the learning rate as a share of its peak: linear warm-up over 10 % of the steps, then half a cosine."""
    warmup = max(num_steps // 10, 1)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(num_steps - warmup, 1)))


def check_finite(loss: Tensor, step: int, name: str) -> float:
    """Return the value of a loss, or stop a training whose loss is not finite.

    Raises:
        TrainingError: If the loss is not finite.
    """
    value = loss.item()
    if not math.isfinite(value):
        raise TrainingError(
            f"{name}: the loss is {value} at step {step + 1}; try a lower learning rate, runtime.precision "
            "32-true, or inputs without extreme values"
        )
    return value
