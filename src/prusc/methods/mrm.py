"""MRM: learn a mask of the ERM network, reset the weights to their start and train them under the mask."""

from dataclasses import dataclass

import torch

from prusc.masks import apply_mask
from prusc.methods.inputs import MethodInputs
from prusc.methods.masking import MaskingSettings, conflicting_samples, learn_mask, masked_samples, masking_cost
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class MRMSettings(MaskingSettings):
    """Settings of MRM; the others are in `MaskingSettings`.

    Attributes:
        mask_upweight: Sampling weight of a bias-conflicting sample. With 1, no sample is favoured and no biased network
            is trained.
        mask_steps: Steps of mask learning.
        mask_learning_rate: Learning rate of Adam on the mask logits.
        initial_logit: Initial value of the mask logits. From 1.5, where the public code of DCWP begins, a mask that is
            learned on biased samples removes next to nothing.
        sparsity: Weight of the sum of the mask logits.
    """

    mask_upweight: float = 1.0
    mask_steps: int = 300
    mask_learning_rate: float = 0.1
    initial_logit: float = 0.0
    sparsity: float = 2e-6


def _train(inputs: MethodInputs, settings: MRMSettings) -> Trained:
    """Learn a mask of the ERM network, then train the masked network from the weights that ERM started from.

    The paper favours no sample, neither in mask learning nor afterwards. Some settings here learn the mask on draws
    that favour bias-conflicting samples, as DCWP does.
    """
    is_conflicting = torch.zeros(len(inputs.train), dtype=torch.bool)
    if settings.mask_upweight != 1:
        is_conflicting = conflicting_samples(inputs, settings)
    mask = learn_mask(inputs, settings, masked_samples(inputs, settings, is_conflicting))
    network = inputs.new_network()
    apply_mask(network, mask)
    inputs.fit(network, inputs.epochs("batches", inputs.config.erm.epochs), "MRM", mask=mask)
    return Trained(network, mask.density, {"num_conflicting": int(is_conflicting.sum())})


MRM = TrainedMethod(
    name="mrm",
    title="MRM",
    paper="Zhang et al. 2021, arXiv:2106.02890",
    group_labels="none",
    train=_train,
    settings=(
        MRMSettings(),
        MRMSettings(sparsity=1e-5),
        MRMSettings(mask_upweight=80.0),
        MRMSettings(mask_upweight=20.0),
        MRMSettings(initial_logit=1.5, mask_learning_rate=1e-2, mask_steps=2000, sparsity=1e-8),
    ),
    starts_from_erm=True,
    cost=lambda settings, erm: masking_cost(settings, erm, own=1.0),
)
