"""The mask of channels that stays within a budget of floating-point operations."""

import torch

from prusc.errors import ConfigError
from prusc.masks import BinaryMask, ChannelMaskedModel
from prusc.models.flops import NetworkFlops


def fit_budget(masked: ChannelMaskedModel, flops: NetworkFlops, budget: float) -> BinaryMask:
    """Return the thresholded mask, or the one with the lowest threshold above 0 that stays within a budget.

    Args:
        masked: Its mask logits order the channels.
        flops: Operations of its network.
        budget: Largest share of the operations, in (0, 1].

    Returns:
        The mask.

    Raises:
        ConfigError: If one channel of each group is still too much.
    """
    thresholds = [0.0, *torch.cat([logits.detach() for logits in masked.mask_logits]).unique().tolist()]
    thresholds = [value for value in thresholds if value >= 0] + [torch.inf]
    low, high = 0, len(thresholds) - 1
    smallest = flops.share(masked.binary_mask(thresholds[high]))
    if smallest > budget:
        raise ConfigError(
            f"masks.budget_flops is {budget}, but {smallest:.3f} of the operations are in layers that have to stay, or "
            "in the last channel of a layer; raise the budget, or choose another network"
        )
    while low < high:
        middle = (low + high) // 2
        if flops.share(masked.binary_mask(thresholds[middle])) <= budget:
            high = middle
        else:
            low = middle + 1
    return masked.binary_mask(thresholds[high])
