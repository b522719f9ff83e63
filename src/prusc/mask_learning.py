"""Stage 5: learn which weights to keep, with the weights themselves frozen."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.config import MaskConfig
from prusc.data.batches import take_inputs
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.debiasing_set import DebiasingSet
from prusc.errors import ConfigError
from prusc.losses import cluster_contrastive_terms
from prusc.masks import BinaryMask, MaskedModel
from prusc.models import RepresentationTap, call_model, to_device
from prusc.runtime import Runtime, global_randomness
from prusc.synchronized_batch_norm import synchronized_batch_norm
from prusc.training import check_finite


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
    optimizer = torch.optim.Adam(masked.parameters(), lr=config.learning_rate, foreach=_use_foreach(runtime))
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
            labels = split.labels[indices].to(runtime.device)
            augmentation = runtime.augmentation_generator(generator, step)
            with runtime.autocast():
                logits = call_model(masked, transform(inputs, generator=augmentation))
                cross_entropy = F.cross_entropy(logits.float(), labels)
            contrastive, num_without = _contrastive(tap.take(), labels, indices, debiasing_set, config, runtime)
            loss = cross_entropy + config.beta * contrastive
            mean_cross_entropy = runtime.average(cross_entropy)
            mean_loss = mean_cross_entropy + config.beta * contrastive.detach()
            check_finite(mean_loss, step - 1, "mask learning")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            runtime.average_gradients(masked.mask_logits)
            add_sparsity_gradient(masked, config)
            optimizer.step()
            sums += torch.stack([mean_cross_entropy, contrastive.detach(), num_without / config.batch_size]).cpu()
            num_summed += 1
            if step in log_steps:
                mask = masked.binary_mask()
                means = (sums / num_summed).tolist()
                history.append(
                    MaskHistoryEntry(
                        step=step,
                        cross_entropy=means[0],
                        contrastive=means[1],
                        sparsity=sparsity_term(masked, config).item(),
                        density=mask.density,
                        anchors_without_positives=means[2],
                        density_per_layer=mask.density_per_layer,
                    )
                )
                sums, num_summed = torch.zeros(3), 0
                if step in snapshot_steps:
                    masks[step] = BinaryMask({name: kept.cpu() for name, kept in mask.tensors.items()})
            if after_step is not None:
                after_step(step, mean_loss.item())
    return LearnedMasks(masks, tuple(history))


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


def add_sparsity_gradient(masked: MaskedModel, config: MaskConfig) -> None:
    """Add the gradient of ``sparsity * sparsity_term`` to the mask logits.

    In closed form and layer by layer: through autograd it would hold several copies of all masks at once.

    Args:
        masked: Its gradients are changed.
        config: Names the term and its weight.
    """
    if config.sparsity == 0:
        return
    for logits in masked.mask_logits:
        if logits.grad is None:
            continue
        if config.sparsity_term == "sum-of-logits":
            logits.grad.add_(config.sparsity)
            continue
        probability = logits.detach().sigmoid()
        # p - p * p, the slope of the sigmoid.
        logits.grad.add_(
            probability.addcmul_(probability, probability, value=-1), alpha=config.sparsity / masked.num_masked
        )


def _contrastive(
    representations: Tensor,
    labels: Tensor,
    indices: Tensor,
    debiasing_set: DebiasingSet,
    config: MaskConfig,
    runtime: Runtime,
) -> tuple[Tensor, Tensor]:
    """Return the loss over the pairs of the global batch and the number of anchors left out."""
    if config.beta == 0:
        return representations.new_zeros((), dtype=torch.float32), torch.zeros((), device=runtime.device)
    cluster_ids = debiasing_set.cluster_ids[indices].to(runtime.device)
    terms = cluster_contrastive_terms(
        runtime.gather(representations.float()),
        runtime.gather(labels),
        runtime.gather(cluster_ids),
        temperature=config.contrastive_temperature,
        negatives=config.negatives,
    )
    return terms.loss, terms.num_without_positives


def _use_foreach(runtime: Runtime) -> bool:
    # On a GPU one kernel for all layers; on a CPU its list of temporaries would cost as much memory as the masks.
    return runtime.device.type == "cuda"
