"""MRM: a mask of the trained network, its weights put back to their start and trained anew under the mask."""

from dataclasses import dataclass

import torch

from prusc.masks import apply_mask
from prusc.methods.inputs import MethodInputs
from prusc.methods.masking import MaskingSettings, conflicting_samples, learn_mask, masked_samples
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class MRMSettings(MaskingSettings):
    """How MRM learns its mask; see `MaskingSettings`.

    Attributes:
        mask_upweight: As there; 1 trains no biased network, since no sample is favoured.
    """

    mask_upweight: float = 1.0


def _train(inputs: MethodInputs, settings: MRMSettings) -> Trained:
    """Learn a mask of the ERM network, then train the masked network from ERM's start, as ERM does.

    The paper favours no sample, neither for the mask nor afterwards; masks that favour bias-conflicting samples, as
    DCWP's do, are among the other settings.
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
        MRMSettings(initial_logit=0.0, mask_learning_rate=0.1, mask_steps=300),
        MRMSettings(initial_logit=0.0, mask_learning_rate=0.1, mask_steps=300, mask_upweight=20.0, sparsity=2e-6),
        MRMSettings(initial_logit=0.0, mask_learning_rate=0.1, mask_steps=300, mask_upweight=80.0),
    ),
    starts_from_erm=True,
)
