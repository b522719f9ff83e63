"""Stage 5: learn masks, with the weights frozen."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import pandas as pd
import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.config import MaskConfig
from prusc.data.table import Split
from prusc.engine.batch_norm import synchronized_batch_norm
from prusc.engine.display import describe_with_table
from prusc.engine.feed import Feed, as_feed
from prusc.engine.progress import ProgressOption, resolve_progress
from prusc.engine.runtime import Runtime, global_randomness, stage_generator
from prusc.engine.training import check_finite
from prusc.errors import ConfigError
from prusc.losses import ContrastiveTerms, cluster_contrastive_terms
from prusc.masks import BinaryMask, MaskedModel
from prusc.masks.gumbel_sigmoid import row_chunks
from prusc.models.calls import call_model
from prusc.models.head import RepresentationTap, find_head
from prusc.stages.debiasing_set import DebiasingSet


@dataclass(frozen=True)
class MaskHistoryEntry:
    """The state of mask learning at one step.

    Attributes:
        step: Number of steps done.
        cross_entropy: Mean since the previous entry, in nats.
        contrastive: Mean contrastive loss since the previous entry, in nats; 0 if ``beta`` is 0.
        sparsity: The sparsity term at this step, without its weight.
        density: Share of the masked weights that are kept.
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


@dataclass(frozen=True, eq=False, repr=False)
class LearnedMasks:
    """The masks along one path of mask learning, from dense to sparse.

    Attributes:
        masks: The thresholded mask of each snapshot, by step; the last one is the final mask.
        history: One entry per snapshot, and further ones in between.
    """

    masks: dict[int, BinaryMask]
    history: tuple[MaskHistoryEntry, ...]

    def __repr__(self) -> str:
        densities = ", ".join(f"{mask.density:.2f} at step {step}" for step, mask in self.masks.items())
        return f"LearnedMasks(density {densities})"

    def _repr_html_(self) -> str:
        rows = [{k: v for k, v in vars(entry).items() if k != "density_per_layer"} for entry in self.history]
        return describe_with_table(self, pd.DataFrame(rows))

    @property
    def final(self) -> BinaryMask:
        """The mask of the last step."""
        return self.masks[max(self.masks)]


class MaskStepTerms(NamedTuple):
    """Loss terms of one step of mask learning, over the global batch and without gradients.

    Attributes:
        loss: Cross-entropy plus the weighted contrastive loss.
        cross_entropy: In nats.
        contrastive: In nats; 0 if ``beta`` is 0.
        num_without_positives: Number of anchors that the contrastive loss left out.
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
    """Compute PruSC's contrastive loss with the temperature and negatives of the config."""
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
    data: Split | Feed,
    debiasing_set: DebiasingSet,
    config: MaskConfig | None = None,
    *,
    head_name: str | None = None,
    generator: torch.Generator | None = None,
    contrast: Contrast = cluster_contrast,
    progress: ProgressOption = None,
) -> LearnedMasks:
    """Learn masks with cross-entropy, the contrastive loss over all pairs of the global batch, and the sparsity term.

    Args:
        model: Not changed: afterwards its weights, buffers, hooks and modes are as before.
        data: The split that the de-biasing set draws from, with its augmentation. Processes share each batch and learn
            the same masks.
        debiasing_set: Sampling probabilities of that split.
        config: Settings of mask learning; the defaults if ``None``.
        head_name: Module name of the head; found if ``None``.
        generator: Source of the draws and the sampled masks; seed 0 if ``None``.
        contrast: The contrastive loss: a function of representations, labels and cluster ids of the global batch.
        progress: Where progress is reported.

    Returns:
        The masks and the history of their learning.

    Raises:
        ConfigError: If the batch size is not a multiple of the number of processes.
        TrainingError: If the loss is not finite.

    References:
        Le et al. 2024, arXiv:2407.14974.

    Example:
        >>> import torch, prusc
        >>> from prusc.models.build import SmallCNN
        >>> data = prusc.load_data("fashion-stickers")
        >>> few = data.train.subset(range(64))
        >>> draws = prusc.build_debiasing_set(prusc.Cells(few.labels, torch.arange(64) % 2))
        >>> config = prusc.config.MaskConfig(steps=2, batch_size=16)
        >>> list(prusc.learn_masks(SmallCNN(num_classes=4), few, draws, config).masks)
        [1, 2]
    """
    config = config or MaskConfig()
    generator = generator or stage_generator(0, "masks")
    feed, report = as_feed(data, model), resolve_progress(progress)
    runtime = feed.runtime
    if config.batch_size % runtime.num_processes:
        raise ConfigError(
            f"masks.batch_size {config.batch_size} cannot be shared evenly among {runtime.num_processes} processes; "
            "set it to a multiple of that number"
        )
    if head_name is None:
        head_name = find_head(model, feed.take(torch.arange(min(2, len(feed)))))
    # All processes sample the same masks. The noise needs a generator on the device of the weights.
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
    record = _Record(masked, config)
    with (
        synchronized_batch_norm(model, runtime),
        RepresentationTap(model, head_name) as tap,
        global_randomness(generator),
    ):
        for step in range(1, config.steps + 1):
            indices = runtime.shard(debiasing_set.draw(config.batch_size, generator))
            terms = mask_step(
                masked,
                optimizer,
                tap,
                feed.take(indices, generator=runtime.augmentation_generator(generator, step)),
                feed.take_labels(indices),
                debiasing_set.cells.attribute_ids[indices].to(runtime.device),
                config=config,
                runtime=runtime,
                step=step,
                contrast=contrast,
            )
            record.add(step, terms)
            report.advance("mask learning", step, config.steps)
    return LearnedMasks(record.masks, tuple(record.history))


class _Record:
    """Records the history of mask learning and the masks of its snapshots."""

    def __init__(self, masked: MaskedModel, config: MaskConfig) -> None:
        self.masked, self.config = masked, config
        self.masks: dict[int, BinaryMask] = {}
        self.history: list[MaskHistoryEntry] = []
        self.snapshot_steps = _even_steps(config.steps, config.snapshots)
        self.log_steps = self.snapshot_steps | _even_steps(config.steps, 20) | {1}
        self.sums, self.num_summed = torch.zeros(3), 0

    def add(self, step: int, terms: MaskStepTerms) -> None:
        """Add a step; at logged steps, append an entry with the means since the previous entry."""
        means = (terms.cross_entropy, terms.contrastive, terms.num_without_positives / self.config.batch_size)
        self.sums += torch.stack(means).cpu()
        self.num_summed += 1
        if step not in self.log_steps:
            return
        mask = self.masked.binary_mask()
        cross_entropy, contrastive, share_without = (self.sums / self.num_summed).tolist()
        self.history.append(
            MaskHistoryEntry(
                step=step,
                cross_entropy=cross_entropy,
                contrastive=contrastive,
                sparsity=sparsity_term(self.masked, self.config).item(),
                density=mask.density,
                anchors_without_positives=share_without,
                density_per_layer=mask.density_per_layer,
            )
        )
        self.sums, self.num_summed = torch.zeros(3), 0
        if step in self.snapshot_steps:
            self.masks[step] = BinaryMask({name: kept.cpu() for name, kept in mask.tensors.items()})


def _even_steps(num_steps: int, count: int) -> set[int]:
    return {round(num_steps * (i + 1) / count) for i in range(count)}


def mask_optimizer(masked: MaskedModel, config: MaskConfig) -> torch.optim.Optimizer:
    """Return Adam on the mask logits.

    Args:
        masked: Its parameters are the mask logits.
        config: Gives the learning rate.
    """
    # Unfused Adam allocates temporaries as large as the masks and takes several times as long.
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
        inputs: This process's part of the batch, transformed and on the device.
        labels: Class of each sample.
        cluster_ids: Cluster of each sample.
        config: Settings of mask learning.
        runtime: Device and processes; the contrastive loss spans the parts of all processes.
        step: Number of the step, for error messages.
        contrast: As in `learn_masks`.

    Returns:
        The terms of the loss.

    Raises:
        TrainingError: If the loss is not finite.
    """
    # Before the forward pass, which uses the most memory: the old gradients are freed by then.
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
    """Return the sparsity term: the mean keep-probability, or the sum of the mask logits.

    Args:
        masked: The masked network.
        config: ``sparsity_term`` names the term.

    Returns:
        The term, without its weight and without a gradient.
    """
    logits = [value.detach() for value in masked.mask_logits]
    if config.sparsity_term == "sum-of-logits":
        return torch.stack([value.sum() for value in logits]).sum()
    return torch.stack([value.sigmoid().sum() for value in logits]).sum() / masked.num_masked


@contextmanager
def sparsity_gradient(masked: MaskedModel, config: MaskConfig) -> Iterator[None]:
    """Inside the ``with`` block, ``backward`` adds the gradient of ``sparsity * sparsity_term`` to the mask logits.

    The gradient has a closed form; through autograd it would need several copies of all masks. It is added right after
    each logit's own gradient, while that is in the cache; a separate pass would take three times as long.

    Args:
        masked: The gradients of its mask logits are changed, of those that the loss depends on.
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
    assert logits.grad is not None, "the hook runs after the gradient is accumulated"
    if config.sparsity_term == "sum-of-logits":
        logits.grad.add_(config.sparsity)
        return
    for rows in row_chunks(logits):
        probability = logits.detach()[rows].sigmoid()
        # p - p * p is the derivative of the sigmoid.
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
    """Return the contrastive loss over the pairs of the global batch, and the number of anchors left out."""
    if config.beta == 0:
        return representations.new_zeros((), dtype=torch.float32), torch.zeros((), device=runtime.device)
    terms = contrast(
        runtime.gather(representations.float()), runtime.gather(labels), runtime.gather(cluster_ids), config
    )
    return terms.loss, terms.num_without_positives
