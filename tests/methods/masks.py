"""What the tests of DCWP and MRM share."""

import torch
from torch import nn

from prusc.methods import MethodInputs
from prusc.methods.masking import MaskingSettings, conflicting_samples, learn_mask, masked_samples

FAST = {"initial_logit": 0.0, "mask_learning_rate": 0.1, "mask_steps": 5}


def largest_pruned_weight(
    network: nn.Module, inputs: MethodInputs, settings: MaskingSettings, **contrast: float
) -> float:
    """The largest weight of the network that the mask of these settings prunes."""
    chosen = conflicting_samples(inputs, settings)
    if settings.mask_upweight == 1:
        chosen = torch.zeros_like(chosen)
    mask = learn_mask(inputs, settings, masked_samples(inputs, settings, chosen), **contrast)
    assert 0.1 < mask.density < 0.9
    weights = dict(network.named_parameters())
    return max(weights[name][~kept].abs().max().item() for name, kept in mask.tensors.items())
