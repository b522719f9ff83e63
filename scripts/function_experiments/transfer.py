"""Transfer: tasks in turn, with weights and masks learned together, and used weights frozen afterwards."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from function_experiments.measuring import Settings
from prusc.engine.runtime import global_randomness, stage_generator
from prusc.masks import BinaryMask
from prusc.stages.modularity import Examples
from prusc.stages.modularity.functions import device_of


@dataclass(frozen=True)
class LearnedTask:
    """One task after its training.

    Attributes:
        mask: The weights that it uses.
        was_frozen: Weights that earlier tasks use, so that this one could only use them as they were.
        right: Test samples that are right, at the end of all tasks.
    """

    mask: BinaryMask
    was_frozen: BinaryMask
    right: Tensor


def learn_in_turn(
    model: nn.Module, tasks: list[tuple[Examples, Examples]], settings: Settings, *, seed: int
) -> list[LearnedTask]:
    """Learn each task with a mask of its own over the same weights.

    Weights that a mask keeps are frozen for all later tasks. The others are drawn anew before each task.

    Args:
        model: Linear layers without biases; changed.
        tasks: Training and test samples of each task.
        settings: Of training and masks.
        seed: Of everything random.

    Returns:
        One entry per task, in order.
    """
    weights = dict(model.named_parameters())
    used = {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in weights.items()}
    found: list[tuple[BinaryMask, BinaryMask]] = []
    for number, (train, _) in enumerate(tasks):
        generator = stage_generator(seed, f"task {number}")
        with global_randomness(generator), torch.no_grad():
            for name, weight in weights.items():
                fresh = nn.init.kaiming_uniform_(torch.empty_like(weight), nonlinearity="relu")
                weight.copy_(torch.where(used[name], weight, fresh))
        mask = _learn_task(model, train, used, settings, generator)
        found.append((BinaryMask(mask), BinaryMask({name: kept.clone() for name, kept in used.items()})))
        used = {name: kept | mask[name] for name, kept in used.items()}
    return [
        LearnedTask(mask, frozen, _predict(model, mask, test) == test.labels)
        for (mask, frozen), (_, test) in zip(found, tasks, strict=True)
    ]


def _learn_task(
    model: nn.Module, train: Examples, used: dict[str, Tensor], settings: Settings, generator: torch.Generator
) -> dict[str, Tensor]:
    """Train free weights and mask logits together; return the mask."""
    config, weights, device = settings.masks, dict(model.named_parameters()), device_of(model)
    logits = {name: torch.full_like(weight, config.initial_logit).requires_grad_() for name, weight in weights.items()}
    optimizer = torch.optim.Adam(
        [
            {"params": list(weights.values()), "lr": settings.training.learning_rate},
            {"params": list(logits.values()), "lr": config.learning_rate},
        ]
    )
    for _ in range(settings.training.steps):
        indices = torch.randint(len(train), (settings.training.batch_size,), generator=generator)
        inputs, labels = train.take(indices), train.take_labels(indices)
        assert isinstance(inputs, Tensor)
        optimizer.zero_grad(set_to_none=True)
        inputs, labels = inputs.to(device), labels.to(device)
        loss = torch.zeros((), device=device)
        parts = zip(inputs.chunk(config.mask_samples), labels.chunk(config.mask_samples), strict=True)
        for part, own in parts:
            masked = {name: weight * _sample(logits[name], generator) for name, weight in weights.items()}
            output = torch.func.functional_call(model, masked, (part,))
            loss = loss + F.cross_entropy(output.flatten(0, -2), own.flatten(), reduction="sum") / len(labels)
        (loss + config.sparsity / len(labels) * sum(values.sum() for values in logits.values())).backward()
        for name, weight in weights.items():
            assert weight.grad is not None
            weight.grad[used[name]] = 0
        nn.utils.clip_grad_norm_(logits.values(), config.clip)
        before = {name: weight.detach().clone() for name, weight in weights.items()}
        optimizer.step()
        with torch.no_grad():
            for name, weight in weights.items():
                # Adam also moves weights whose gradient is 0 now, by the gradients before.
                weight.copy_(torch.where(used[name], before[name], weight))
    return {name: values.detach() >= 0 for name, values in logits.items()}


def _sample(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Return a random binary mask with the gradient of the soft one, for weights that learn too."""
    # The generator is that of the CPU, whatever the device.
    uniform = torch.rand(logits.shape, generator=generator).clamp(1e-6, 1 - 1e-6).to(logits.device)
    soft = torch.sigmoid(logits + uniform.logit())
    return (soft >= 0.5).float() + soft - soft.detach()


def _predict(model: nn.Module, mask: BinaryMask, test: Examples) -> Tensor:
    weights = dict(model.named_parameters())
    assert isinstance(test.inputs, Tensor)
    masked = {name: weights[name].detach() * kept for name, kept in mask.tensors.items()}
    with torch.no_grad():
        output: Tensor = torch.func.functional_call(model, masked, (test.inputs.to(device_of(model)),))
    return output.argmax(-1).flatten().cpu()
