"""Stage 5: learn which weights to keep, with the weights themselves frozen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.config import MaskConfig
from prusc.data.batches import take_inputs
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.batch_norm import synchronized_batch_norm
from prusc.engine.runtime import Runtime, global_randomness
from prusc.engine.training import check_finite
from prusc.errors import ConfigError
from prusc.losses import ContrastiveTerms, cluster_contrastive_terms
from prusc.masks import BinaryMask, MaskedModel
from prusc.masks.gumbel_sigmoid import row_chunks
from prusc.models.calls import call_model, to_device
from prusc.models.head import RepresentationTap
from prusc.stages.debiasing_set import DebiasingSet


@dataclass(frozen=True)
class MaskHistoryEntry:
    """The state of mask learning at one step.

    Attributes:
        step: Steps done.
        cross_entropy: Mean since the entry before, in nats.
        contrastive: Likewise; 0 if the loss is not used.
        sparsity: The sparsity term without its weight, at this step.
        density: Share of the masked weights that the threshold keeps.
        anchors_without_positives: Mean share of the batch that the contrastive loss left out.
        density_per_layer: Density of each masked parameter.
    """

    step: int
    cross_entropy: float
    contrastive: float
    sparsity: float
    density: float
    anchors_without_positives: float
    density_per_layer: dict[str, float]


@dataclass(frozen=True, eq=False)
class LearnedMasks:
    """The masks along one path of mask learning, from dense to sparse.

    Attributes:
        masks: The thresholded mask at each snapshot, by step; the last one is the final mask.
        history: One entry per snapshot and some between.
    """

    masks: dict[int, BinaryMask]
    history: tuple[MaskHistoryEntry, ...]

    @property
    def final(self) -> BinaryMask:
        """The mask of the last step."""
        return self.masks[max(self.masks)]


class MaskStepTerms(NamedTuple):
    """What one step of mask learning minimised, over the global batch and without gradients.

    Attributes:
        loss: Cross-entropy plus the weighted contrastive loss.
        cross_entropy: In nats.
        contrastive: In nats; 0 if the loss is not used.
        num_without_positives: Anchors that the contrastive loss left out.
    """

    loss: Float[Tensor, ""]
    cross_entropy: Float[Tensor, ""]
    contrastive: Float[Tensor, ""]
    num_without_positives: Shaped[Tensor, ""]


def cluster_contrast(
    representations: Float[Tensor, "batch dim"],
    labels: Int[Tensor, " batch"],
    cluster_ids: Int[Tensor, " batch"],
    config: MaskConfig,
) -> ContrastiveTerms:
    """Compute PruSC's contrastive loss as the settings say."""
    return cluster_contrastive_terms(
        representations,
        labels,
        cluster_ids,
        temperature=config.contrastive_temperature,
        negatives=config.negatives,
    )


Contrast = Callable[[Tensor, Tensor, Tensor, MaskConfig], ContrastiveTerms]


def learn_masks(
    model: nn.Module,
    head_name: str,
    split: Split,
    debiasing_set: DebiasingSet,
    transform: InputTransform,
    config: MaskConfig,
    runtime: Runtime,
    *,
    generator: torch.Generator,
    contrast: Contrast = cluster_contrast,
    after_step: Callable[[int, float], None] | None = None,
) -> LearnedMasks:
    """Learn masks with cross-entropy, the contrastive loss over all pairs of the global batch, and the sparsity term.

    Args:
        model: On the runtime's device; its weights, buffers, hooks and modes are as before afterwards.
        head_name: Module name of its head.
        split: Where the de-biasing set draws from.
        debiasing_set: How it draws.
        transform: Normalisation and augmentation.
        config: Every setting of the method.
        runtime: Where to compute; processes share each batch and learn the same masks.
        generator: Decides the draws and the sampled masks.
        contrast: The contrastive loss, given representations, labels and cluster ids of the global batch.
        after_step: Called with the number of steps done and the loss.

    Returns:
        The masks and how they came about.

    Raises:
        ConfigError: If the batch cannot be shared evenly among the processes.
        TrainingError: If the loss is not finite.

    References:
        Le et al. 2024, arXiv:2407.14974.
    """
    if config.batch_size % runtime.num_processes:
        raise ConfigError(
            f"masks.batch_size {config.batch_size} cannot be shared evenly among {runtime.num_processes} processes"
        )
    # All processes sample the same masks; the noise has to come from a generator on the weights' device.
    noise = torch.Generator(device=runtime.device)
    noise.manual_seed(int(torch.randint(2**62, (1,), generator=generator)))
    masked = MaskedModel(
        model,
        include=config.include,
        exclude=config.exclude,
        initial_logit=config.initial_logit,
        temperature=config.mask_temperature,
        generator=noise,
    )
    optimizer = mask_optimizer(masked, config)
    snapshot_steps = {round(config.steps * (i + 1) / config.snapshots) for i in range(config.snapshots)}
    log_steps = snapshot_steps | {round(config.steps * (i + 1) / 20) for i in range(20)} | {1}
    masks: dict[int, BinaryMask] = {}
    history: list[MaskHistoryEntry] = []
    sums, num_summed = torch.zeros(3), 0

    with (
        synchronized_batch_norm(model, runtime),
        RepresentationTap(model, head_name) as tap,
        global_randomness(generator),
    ):
        for step in range(1, config.steps + 1):
            indices = runtime.shard(debiasing_set.draw(config.batch_size, generator))
            inputs = to_device(
                take_inputs(split.inputs, indices), runtime.device, channels_last=runtime.config.channels_last
            )
            terms = mask_step(
                masked,
                optimizer,
                tap,
                transform(inputs, generator=runtime.augmentation_generator(generator, step)),
                split.labels[indices].to(runtime.device),
                debiasing_set.cluster_ids[indices].to(runtime.device),
                config=config,
                runtime=runtime,
                step=step,
                contrast=contrast,
            )
            means = (terms.cross_entropy, terms.contrastive, terms.num_without_positives / config.batch_size)
            sums += torch.stack(means).cpu()
            num_summed += 1
            if step in log_steps:
                mask = masked.binary_mask()
                cross_entropy, contrastive, share_without = (sums / num_summed).tolist()
                history.append(
                    MaskHistoryEntry(
                        step=step,
                        cross_entropy=cross_entropy,
                        contrastive=contrastive,
                        sparsity=sparsity_term(masked, config).item(),
                        density=mask.density,
                        anchors_without_positives=share_without,
                        density_per_layer=mask.density_per_layer,
                    )
                )
                sums, num_summed = torch.zeros(3), 0
                if step in snapshot_steps:
                    masks[step] = BinaryMask({name: kept.cpu() for name, kept in mask.tensors.items()})
            if after_step is not None:
                after_step(step, terms.loss.item())
    return LearnedMasks(masks, tuple(history))


def mask_optimizer(masked: MaskedModel, config: MaskConfig) -> torch.optim.Optimizer:
    """Return Adam on the mask logits.

    Args:
        masked: Its parameters are the mask logits.
        config: Gives the learning rate.
    """
    # Fused, it makes no temporaries: unfused ones cost as much memory as the masks, and several times the time.
    fused = all(logits.device.type in ("cpu", "cuda") for logits in masked.mask_logits)
    return torch.optim.Adam(masked.parameters(), lr=config.learning_rate, fused=fused)


def mask_step(
    masked: MaskedModel,
    optimizer: torch.optim.Optimizer,
    tap: RepresentationTap,
    inputs: Any,
    labels: Int[Tensor, " batch"],
    cluster_ids: Int[Tensor, " batch"],
    *,
    config: MaskConfig,
    runtime: Runtime,
    step: int,
    contrast: Contrast = cluster_contrast,
) -> MaskStepTerms:
    """Sample masks, run one batch forward and backward, and update the mask logits.

    Args:
        masked: In training mode; its mask logits are changed.
        optimizer: Of the mask logits.
        tap: On the head of the wrapped network.
        inputs: This process's part of the batch, as the network takes it.
        labels: Class of each sample.
        cluster_ids: Cluster of each sample.
        config: Every setting of the method.
        runtime: Where to compute; the contrastive loss spans the batches of all processes.
        step: Number of the step, for an error.
        contrast: As in `learn_masks`.

    Returns:
        The terms of the loss.

    Raises:
        TrainingError: If the loss is not finite.
    """
    # Here, and not before the backward pass: the forward pass, where most memory is in use, need not hold them.
    optimizer.zero_grad(set_to_none=True)
    with runtime.autocast():
        logits = call_model(masked, inputs)
        cross_entropy = F.cross_entropy(logits.float(), labels)
    contrastive, num_without = _contrastive(tap.take(), labels, cluster_ids, contrast, config, runtime)
    loss = cross_entropy + config.beta * contrastive
    mean_cross_entropy = runtime.average(cross_entropy)
    mean_loss = mean_cross_entropy + config.beta * contrastive.detach()
    check_finite(mean_loss, step - 1, "mask learning")
    with sparsity_gradient(masked, config):
        loss.backward()
    runtime.average_gradients(masked.mask_logits)
    optimizer.step()
    return MaskStepTerms(mean_loss, mean_cross_entropy, contrastive.detach(), num_without)


def sparsity_term(masked: MaskedModel, config: MaskConfig) -> Tensor:
    """Return what is pushed down: the mean keep-probability, or the sum of the logits.

    Args:
        masked: Its mask logits count.
        config: Names the term.

    Returns:
        The term without its weight, without a gradient.
    """
    logits = [value.detach() for value in masked.mask_logits]
    if config.sparsity_term == "sum-of-logits":
        return torch.stack([value.sum() for value in logits]).sum()
    return torch.stack([value.sigmoid().sum() for value in logits]).sum() / masked.num_masked


@contextmanager
def sparsity_gradient(masked: MaskedModel, config: MaskConfig) -> Iterator[None]:
    """While it is open, a backward pass adds the gradient of ``sparsity * sparsity_term`` to that of each mask logit.

    In closed form: through autograd it would hold several copies of all masks at once. And right after the logit's own
    gradient, which is then still in the cache: in a pass of its own it would take three times as long.

    Args:
        masked: Its gradients are changed, those of mask logits that the loss depends on.
        config: Names the term and its weight.

    Yields:
        Nothing.
    """
    add = partial(_add_sparsity_gradient, num_masked=masked.num_masked, config=config)
    hooks = [logits.register_post_accumulate_grad_hook(add) for logits in masked.mask_logits if config.sparsity]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _add_sparsity_gradient(logits: Tensor, num_masked: int, config: MaskConfig) -> None:
    assert logits.grad is not None, "called once the gradient is there"
    if config.sparsity_term == "sum-of-logits":
        logits.grad.add_(config.sparsity)
        return
    for rows in row_chunks(logits):
        probability = logits.detach()[rows].sigmoid()
        # p - p * p, the slope of the sigmoid.
        slope = probability.addcmul_(probability, probability, value=-1)
        logits.grad[rows].add_(slope, alpha=config.sparsity / num_masked)


def _contrastive(
    representations: Tensor,
    labels: Tensor,
    cluster_ids: Tensor,
    contrast: Contrast,
    config: MaskConfig,
    runtime: Runtime,
) -> tuple[Tensor, Tensor]:
    """Return the loss over the pairs of the global batch and the number of anchors left out."""
    if config.beta == 0:
        return representations.new_zeros((), dtype=torch.float32), torch.zeros((), device=runtime.device)
    terms = contrast(
        runtime.gather(representations.float()), runtime.gather(labels), runtime.gather(cluster_ids), config
    )
    return terms.loss, terms.num_without_positives
