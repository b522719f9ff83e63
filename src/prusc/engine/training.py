"""The one loop that trains weights: ERM, and fine-tuning of what a mask left."""

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.data.batches import take_inputs
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.batch_norm import synchronized_batch_norm
from prusc.engine.runtime import Runtime, global_randomness
from prusc.errors import TrainingError
from prusc.masks import BinaryMask, module_modes
from prusc.models.calls import call_model, to_device

StepCallback = Callable[[int, float], None]
LossFunction = Callable[[nn.Module, Tensor, Tensor], Tensor]


def epoch_batches(num_samples: int, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Yield the index batches of one epoch: every sample once, in random order; a last single sample is left out."""
    order = torch.randperm(num_samples, generator=generator)
    for start in range(0, num_samples, batch_size):
        batch = order[start : start + batch_size]
        # BatchNorm cannot normalise a batch of one.
        if len(batch) > 1 or num_samples == 1:
            yield batch


def num_epoch_batches(num_samples: int, batch_size: int) -> int:
    """Count what `epoch_batches` yields."""
    full, rest = divmod(num_samples, batch_size)
    return full + (rest > 1 or num_samples == 1)


def train_weights(
    model: nn.Module,
    split: Split,
    batches: Sequence[Tensor] | Iterator[Tensor],
    num_steps: int,
    *,
    learning_rate: float,
    weight_decay: float,
    transform: InputTransform,
    runtime: Runtime,
    generator: torch.Generator,
    stage: str,
    loss_function: LossFunction | None = None,
    mask: BinaryMask | None = None,
    after_step: StepCallback | None = None,
) -> None:
    """Train a network in place, by cross-entropy or another loss, with AdamW and a one-cycle cosine schedule.

    Args:
        model: On the runtime's device.
        split: Where the batches index into.
        batches: Index batches, the same in every process; each process trains on its share.
        num_steps: How many batches there are.
        learning_rate: Peak of the schedule, reached after a tenth of the steps.
        weight_decay: Of AdamW.
        transform: Normalisation and augmentation.
        runtime: Where to compute.
        generator: Decides augmentation and dropout.
        stage: What to call this training in an error.
        loss_function: Given the network, its inputs and their indices in the split, returns what to minimise, a mean
            over these samples; the cross-entropy of the labels if ``None``.
        mask: If given, pruned weights stay zero.
        after_step: Called with the number of steps done and the loss.

    Raises:
        TrainingError: If the loss is not finite.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=learning_rate, weight_decay=weight_decay, foreach=True)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: one_cycle(step, num_steps))
    kept = _masked_parameters(model, mask)
    with module_modes(model, True), synchronized_batch_norm(model, runtime), global_randomness(generator):
        for step, batch in enumerate(batches):
            part = runtime.shard(batch)
            inputs = to_device(
                take_inputs(split.inputs, part), runtime.device, channels_last=runtime.config.channels_last
            )
            with runtime.autocast():
                inputs = transform(inputs, generator=runtime.augmentation_generator(generator, step))
                if loss_function is None:
                    loss = F.cross_entropy(call_model(model, inputs).float(), split.labels[part].to(runtime.device))
                else:
                    loss = loss_function(model, inputs, part)
            # The mean over processes of these losses is the mean over the batch, however unevenly it is shared.
            loss = loss * (len(part) * runtime.num_processes / len(batch))
            mean_loss = runtime.average(loss)
            check_finite(mean_loss, step, stage)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            runtime.average_gradients(parameters)
            optimizer.step()
            schedule.step()
            for weight, mask_tensor in kept:
                weight.data.mul_(mask_tensor)
            if after_step is not None:
                after_step(step + 1, mean_loss.item())


def one_cycle(step: int, num_steps: int) -> float:
    """Return the share of the peak learning rate: a linear start over a tenth of the steps, then half a cosine."""
    warmup = max(num_steps // 10, 1)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(num_steps - warmup, 1)))


def check_finite(loss: Tensor, step: int, stage: str) -> None:
    """Stop a training whose loss went astray.

    Raises:
        TrainingError: If the loss is not finite.
    """
    if not math.isfinite(loss.item()):
        raise TrainingError(
            f"{stage}: the loss is {loss.item()} at step {step + 1}; try a lower learning rate, precision 32-true, and "
            "inputs without extreme values"
        )


def _masked_parameters(model: nn.Module, mask: BinaryMask | None) -> list[tuple[nn.Parameter, Tensor]]:
    if mask is None:
        return []
    parameters = dict(model.named_parameters())
    return [(parameters[name], kept.to(parameters[name].device)) for name, kept in mask.tensors.items()]
