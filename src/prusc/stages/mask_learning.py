"""Stage 5: learn masks, with the weights frozen."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from prusc.config import ERMConfig, MaskConfig
from prusc.config.stages import FilledMaskConfig
from prusc.data.table import Split
from prusc.engine.batch_norm import synchronized_batch_norm
from prusc.engine.display import describe_with_table
from prusc.engine.feed import Feed, as_feed
from prusc.engine.progress import ProgressOption, resolve_progress
from prusc.engine.runtime import global_randomness, stage_generator
from prusc.errors import ConfigError
from prusc.masks import BinaryMask, ChannelMaskedModel, MaskedModel, maskable_parameters, module_modes
from prusc.models.channels import find_channels
from prusc.models.flops import NetworkFlops, count_flops
from prusc.models.head import RepresentationTap, find_head
from prusc.stages.debiasing_set import DebiasingSet
from prusc.stages.flops_budget import fit_budget
from prusc.stages.mask_step import Contrast, MaskStepTerms, cluster_contrast, mask_optimizer, mask_step, sparsity_term


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


def exclude_head(model: nn.Module, config: MaskConfig, head_name: str) -> tuple[str, ...]:
    """Return the patterns of the parameters that are not masked.

    Those of the head are among them, unless the settings want it masked, or there is nothing else to mask.

    Raises:
        ConfigError: If a pattern of the settings matches no weight.
        ModelError: If there is no weight to mask.
    """
    names = maskable_parameters(model, include=config.include, exclude=config.exclude)
    of_head = [name for name in names if name.startswith(f"{head_name}.")]
    if config.head or not of_head or len(of_head) == len(names):
        return config.exclude
    return (*config.exclude, f"{head_name}.*")


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
        config: Settings of mask learning; the defaults if ``None``. Numbers that are not given follow the default ERM
            training.
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
    generator = generator or stage_generator(0, "masks")
    feed, report = as_feed(data, model), resolve_progress(progress)
    config = (config or MaskConfig()).fill(len(feed), ERMConfig())
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
    masked = _make_masked(model, feed, head_name, config, noise)
    optimizer = mask_optimizer(masked, config)
    few = torch.arange(1)
    record = _Record(masked, config, None if config.budget_flops is None else count_flops(model, feed.take(few)))
    with (
        # Each call of the masked network asks for this mode, which takes long only if it is another one.
        module_modes(masked.model, True),
        synchronized_batch_norm(model, runtime),
        RepresentationTap(model, head_name) as tap,
        global_randomness(generator),
        feed.ahead(_draw(feed, debiasing_set, config, generator)) as drawn,
    ):
        for step, (indices, inputs) in enumerate(drawn, start=1):
            terms = mask_step(
                masked,
                optimizer,
                tap,
                inputs,
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


def _draw(
    feed: Feed, debiasing_set: DebiasingSet, config: FilledMaskConfig, generator: torch.Generator
) -> Iterator[tuple[Tensor, Any]]:
    """Yield this process's part of each batch, and its inputs."""
    for step in range(1, config.steps + 1):
        indices = feed.runtime.shard(debiasing_set.draw(config.batch_size, generator))
        yield indices, feed.take(indices, generator=feed.runtime.augmentation_generator(generator, step))


def _make_masked(
    model: nn.Module, feed: Feed, head_name: str, config: FilledMaskConfig, noise: torch.Generator
) -> MaskedModel:
    """Return the network with one mask logit per weight or per channel."""
    if not config.by_channel:
        return MaskedModel(
            model,
            include=config.include,
            exclude=exclude_head(model, config, head_name),
            initial_logit=config.initial_logit,
            temperature=config.mask_temperature,
            generator=noise,
        )
    sample = feed.take(torch.arange(min(2, len(feed))))
    channels = find_channels(model, sample, head_name=head_name, include=config.include, exclude=config.exclude)
    return ChannelMaskedModel(
        model,
        channels.groups,
        head_name=head_name,
        initial_logit=config.initial_logit,
        temperature=config.mask_temperature,
        generator=noise,
    )


class _Record:
    """Records the history of mask learning and the masks of its snapshots.

    Args:
        masked: The network whose masks are learned.
        config: Settings of mask learning.
        flops: Operations of the network, if there is a budget for them.
    """

    def __init__(self, masked: MaskedModel, config: FilledMaskConfig, flops: NetworkFlops | None) -> None:
        self.masked, self.config, self.flops = masked, config, flops
        self.masks: dict[int, BinaryMask] = {}
        self.history: list[MaskHistoryEntry] = []
        self.snapshot_steps = _even_steps(config.steps, config.snapshots)
        self.log_steps = self.snapshot_steps | _even_steps(config.steps, 20) | {1}
        self.sums, self.num_summed = torch.zeros(3, device=next(masked.parameters()).device), 0

    def add(self, step: int, terms: MaskStepTerms) -> None:
        """Add a step; at logged steps, append an entry with the means since the previous entry."""
        means = (terms.cross_entropy, terms.contrastive, terms.num_without_positives / self.config.batch_size)
        # They stay on the device, because a GPU would be waited for in every step.
        self.sums += torch.stack(means)
        self.num_summed += 1
        if step not in self.log_steps:
            return
        mask = self._mask()
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
        self.sums.zero_()
        self.num_summed = 0
        if step in self.snapshot_steps:
            self.masks[step] = BinaryMask({name: kept.cpu() for name, kept in mask.tensors.items()})

    def _mask(self) -> BinaryMask:
        if self.flops is None or self.config.budget_flops is None:
            return self.masked.binary_mask()
        assert isinstance(self.masked, ChannelMaskedModel), "a budget needs channels"
        return fit_budget(self.masked, self.flops, self.config.budget_flops)


def _even_steps(num_steps: int, count: int) -> set[int]:
    return {round(num_steps * (i + 1) / count) for i in range(count)}
