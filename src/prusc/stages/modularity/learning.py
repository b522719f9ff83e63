"""Learn one mask per function over one frozen network."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.config import FunctionMaskConfig
from prusc.engine.progress import Progress, ProgressOption, resolve_progress
from prusc.engine.runtime import global_randomness, stage_generator
from prusc.engine.training import check_finite
from prusc.errors import ModelError
from prusc.masks import BinaryMask, MaskedModel, left_out_parameters
from prusc.masks.plain_network import is_plain, plain_network
from prusc.stages.modularity.functions import (
    IGNORED,
    FunctionData,
    Part,
    as_function_feed,
    call_outputs,
    check_functions,
    check_outputs,
    device_of,
    function_labels,
    take_part,
)
from prusc.stages.modularity.prediction import predict_outputs

# So many samples show whether a network is better than chance.
_MAX_CHECKED = 2000
_NUM_LOGGED = 20


@dataclass(frozen=True)
class FunctionHistoryEntry:
    """The state of one mask at one step.

    Attributes:
        step: Number of steps done.
        cross_entropy: Mean since the previous entry, in nats per output.
        density: Share of the masked weights that are kept.
    """

    step: int
    cross_entropy: float
    density: float


@dataclass(frozen=True, eq=False, repr=False)
class FunctionMasks:
    """The weights that each function of a network needs.

    Attributes:
        masks: The thresholded mask of each function, by name.
        history: How each of them was learned.
        left_out: Names of the parameters that no mask covers.
    """

    masks: Mapping[str, BinaryMask]
    history: Mapping[str, tuple[FunctionHistoryEntry, ...]]
    left_out: tuple[str, ...]

    def __repr__(self) -> str:
        return f"FunctionMasks({', '.join(f'{name}: {mask.density:.3f}' for name, mask in self.masks.items())})"

    def __getitem__(self, name: str) -> BinaryMask:
        return self.masks[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.masks)

    def __len__(self) -> int:
        return len(self.masks)


def learn_function_masks(
    model: nn.Module,
    functions: Mapping[str, FunctionData],
    config: FunctionMaskConfig | None = None,
    *,
    generator: torch.Generator | None = None,
    progress: ProgressOption = None,
) -> FunctionMasks:
    """Learn, for each function, a mask that keeps only the weights that the function needs.

    The network is frozen and in evaluation mode. The loss is the cross-entropy of the function's outputs, plus
    ``sparsity / batch_size`` times the sum of the mask logits.

    Args:
        model: Any network that returns logits of shape [N, C], or [N, ..., C] for several outputs per sample. Not
            changed.
        functions: The samples of each function, by its name.
        config: Settings of the learning; the defaults if ``None``.
        generator: Source of the draws and the sampled masks; seed 0 if ``None``.
        progress: Where progress is reported.

    Returns:
        The masks.

    Raises:
        DataError: If a function has no samples, only one class, or labels that the network does not have.
        ModelError: If the network is no better than chance on a function, or has no weight to mask.
        TrainingError: If the loss is not finite.

    References:
        Csordas et al. 2021, arXiv:2010.02066.

    Example:
        >>> import torch, prusc
        >>> from prusc.config import FunctionMaskConfig
        >>> model, inputs = torch.nn.Linear(2, 2, bias=False), torch.eye(2).repeat(8, 1)
        >>> with torch.no_grad():
        ...     _ = model.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        >>> same = prusc.modularity.Examples(inputs, torch.arange(16) % 2)
        >>> config = FunctionMaskConfig(steps=2, batch_size=8)
        >>> prusc.modularity.learn_function_masks(model, {"same": same}, config)
        FunctionMasks(same: 1.000)
    """
    config = config or FunctionMaskConfig()
    generator = generator or stage_generator(0, "function masks")
    report = resolve_progress(progress)
    model = model if is_plain(model) else plain_network(model)
    check_functions(functions)
    if config.require_skill:
        for name, data in functions.items():
            check_skill(model, name, data)
    masks: dict[str, BinaryMask] = {}
    history: dict[str, tuple[FunctionHistoryEntry, ...]] = {}
    for name, data in functions.items():
        masks[name], history[name] = _learn_one(model, name, data, config, generator, report)
    left_out = left_out_parameters(model, include=config.include, exclude=config.exclude)
    return FunctionMasks(masks, history, left_out)


def _learn_one(
    model: nn.Module,
    name: str,
    data: FunctionData,
    config: FunctionMaskConfig,
    generator: torch.Generator,
    report: Progress,
) -> tuple[BinaryMask, tuple[FunctionHistoryEntry, ...]]:
    """Learn the mask of one function."""
    feed, device = as_function_feed(data, model), device_of(model)
    noise = torch.Generator(device=device)
    noise.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
    masked = MaskedModel(
        model,
        include=config.include,
        exclude=config.exclude,
        initial_logit=config.initial_logit,
        generator=noise,
        train_network=False,
    )
    fused = device.type in ("cpu", "cuda")
    optimizer = torch.optim.Adam(masked.parameters(), lr=config.learning_rate, fused=fused)
    history: list[FunctionHistoryEntry] = []
    total, num_summed = torch.zeros((), device=device), 0
    logged = {round(config.steps * (index + 1) / _NUM_LOGGED) for index in range(_NUM_LOGGED)}
    with global_randomness(generator):
        for step in range(1, config.steps + 1):
            indices = torch.randint(len(feed), (config.batch_size,), generator=generator)
            optimizer.zero_grad(set_to_none=True)
            loss = accumulate_gradients(masked, name, feed.take(indices), feed.take_labels(indices), config)
            check_finite(loss, step - 1, f"mask learning of function {name!r}")
            optimizer.step()
            total, num_summed = total + loss, num_summed + 1
            if step in logged:
                density = masked.binary_mask().density
                history.append(FunctionHistoryEntry(step, float(total) / num_summed, density))
                total, num_summed = torch.zeros((), device=device), 0
            report.advance(f"mask of {name}", step, config.steps)
    return BinaryMask({key: kept.cpu() for key, kept in masked.binary_mask().tensors.items()}), tuple(history)


def accumulate_gradients(
    masked: MaskedModel, name: str, inputs: Tensor | Mapping[str, Tensor], labels: Tensor, config: FunctionMaskConfig
) -> Tensor:
    """Set the gradients of the mask logits for one batch, clipped.

    Each slice of the batch sees its own sampled mask.

    Args:
        masked: In training mode; its gradients must be ``None``.
        name: Name of the function in errors.
        inputs: The batch.
        labels: Class of each output of each sample.
        config: Number of masks, sparsity and clip.

    Returns:
        The cross-entropy, in nats per output that counts, without a gradient.
    """
    device = device_of(masked)
    labels = labels.to(device)
    num_counting = (labels != IGNORED).sum().clamp(min=1)
    total = torch.zeros((), device=device)
    for part in torch.arange(len(labels)).chunk(config.mask_samples):
        chosen = slice(int(part[0]), int(part[-1]) + 1)
        logits = call_outputs(masked, _slice(inputs, chosen), device)
        own = labels[chosen]
        check_outputs(name, logits.detach(), own)
        loss = F.cross_entropy(logits.float().flatten(0, -2), own.flatten(), ignore_index=IGNORED, reduction="sum")
        (loss / num_counting).backward()
        total += loss.detach()
    for mask_logits in masked.mask_logits:
        # The derivative of sparsity * sum(logits) / batch size, which needs no graph.
        if mask_logits.grad is not None:
            mask_logits.grad.add_(config.sparsity / len(labels))
    torch.nn.utils.clip_grad_norm_(masked.parameters(), config.clip)
    return total / num_counting


def _slice(inputs: Tensor | Mapping[str, Tensor], chosen: slice) -> Tensor | dict[str, Tensor]:
    if isinstance(inputs, Mapping):
        return {name: values[chosen] for name, values in inputs.items()}
    return inputs[chosen]


def check_skill(model: nn.Module, name: str, data: FunctionData) -> None:
    """Refuse a function that the network does not solve better than chance.

    The mean recall of the classes is tested against 1 / number of classes, one-sided, at a level of 2.5 %.

    Args:
        model: Not changed.
        name: Name of the function in errors.
        data: Its samples; at most 2,000, evenly spaced, are used.

    Raises:
        ModelError: If the network is no better than chance.
    """
    feed = as_function_feed(data, model)
    positions = torch.linspace(0, len(feed) - 1, min(len(feed), _MAX_CHECKED)).round().long()
    few = take_part(feed, positions)
    labels = function_labels(few)
    counting = labels != IGNORED
    found = predict_outputs(model, None, Part(few.data, few.indices), name=name)[counting]
    labels = labels[counting]
    classes = labels.unique()
    sizes = torch.stack([(labels == label).sum() for label in classes]).double()
    recalls = torch.stack([(found[labels == label] == label).double().mean() for label in classes])
    chance = 1 / len(classes)
    error = (chance * (1 - chance) * (1 / sizes).sum()).sqrt() / len(classes)
    if recalls.mean() <= chance + 1.96 * error:
        raise ModelError(
            f"the network is no better than chance on function {name!r}: its mean recall over {len(classes)} classes "
            f"is {100 * float(recalls.mean()):.1f} % of {len(labels)} outputs, and chance gives {100 * chance:.1f} %; "
            "train it further, or allow this: --modularity.masks.no-require-skill, in Python require_skill=False"
        )
