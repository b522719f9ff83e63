"""Stage 6: extract the subnetwork of a mask as an ordinary network."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from prusc.data.table import Split
from prusc.engine.batch_norm import reestimate_batch_norm
from prusc.engine.feed import Feed, as_feed
from prusc.engine.runtime import stage_generator
from prusc.masks import BinaryMask, apply_mask, plain_network
from prusc.stages.debiasing_set import DebiasingSet

NUM_STATISTICS_BATCHES = 20
"""Number of batches for the statistics of BatchNorm."""


def extract_subnetwork(
    model: nn.Module,
    mask: BinaryMask,
    data: Split | Feed,
    draws: DebiasingSet | Iterable[Tensor],
    *,
    batch_size: int = 256,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Copy a network, set its pruned weights to zero and re-estimate the statistics of BatchNorm.

    Args:
        model: On the feed's device; not changed.
        mask: The weights to keep.
        data: The split for the statistics, without augmentation.
        draws: The de-biasing set of that split, or index batches. Without a batch the statistics stay as they are.
        batch_size: Samples per drawn batch.
        generator: Source of the draws; seed 0 if ``None``.

    Returns:
        A network of the same class, with the same state-dict keys. Wrappers and computed weights are taken off, see
        `prusc.masks.plain_network`.

    Example:
        >>> import torch, prusc
        >>> from prusc.models.build import SmallCNN
        >>> model, few = SmallCNN(num_classes=4), prusc.load_data("fashion-stickers").train.subset(range(32))
        >>> mask = prusc.BinaryMask({"head.weight": torch.zeros(4, 128, dtype=torch.bool)})
        >>> subnetwork = prusc.extract_subnetwork(model, mask, few, [torch.arange(32)])
        >>> type(subnetwork).__name__, subnetwork.head.weight.count_nonzero().item()
        ('SmallCNN', 0)
    """
    subnetwork = plain_network(model)
    apply_mask(subnetwork, mask)
    if isinstance(draws, DebiasingSet):
        draws = draw_statistics_batches(draws, batch_size, generator or stage_generator(0, "batch norm statistics"))
    reestimate_batch_norm(subnetwork, as_feed(data, model), draws)
    return subnetwork


def draw_statistics_batches(draws: DebiasingSet, batch_size: int, generator: torch.Generator) -> list[Tensor]:
    """Draw the index batches for the statistics of BatchNorm."""
    return [draws.draw(batch_size, generator) for _ in range(NUM_STATISTICS_BATCHES)]
