"""Mask learning of DCWP and MRM, on draws that favour bias-conflicting samples."""

import math
from dataclasses import dataclass

from jaxtyping import Bool
from torch import Tensor

from prusc.config import MaskConfig
from prusc.config.checks import require
from prusc.losses import ContrastiveTerms, debiased_contrastive_terms
from prusc.masks import BinaryMask
from prusc.methods.biased_network import biased_epochs, biased_network_cost, find_conflicting, upweight
from prusc.methods.budget import Cost, ERMLength
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive, require_share
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import DebiasingSet
from prusc.stages.mask_learning import learn_masks


@dataclass(frozen=True)
class MaskingSettings:
    """Settings of mask learning that DCWP and MRM share.

    Attributes:
        biased_share: Length of the training of the biased network that finds bias-conflicting samples, as a share of
            ERM's. DCWP's code has 0.2 for ColoredMNIST and 1 for CelebA.
        q: Exponent of that network's generalised cross-entropy.
        mask_upweight: Sampling weight of a bias-conflicting sample; that of the others is 1.
        mask_steps: Steps of mask learning.
        mask_learning_rate: Learning rate of Adam on the mask logits.
        initial_logit: Initial value of the mask logits.
        sparsity: Weight of the sum of the mask logits.
    """

    biased_share: float = 0.2
    q: float = 0.7
    mask_upweight: float = 80.0
    mask_steps: int = 2000
    mask_learning_rate: float = 1e-2
    initial_logit: float = 1.5
    sparsity: float = 1e-8

    def __post_init__(self) -> None:
        require_positive(self, "biased_share", "q", "mask_upweight", "mask_steps", "mask_learning_rate")
        require_share(self, "q")
        require_not_negative(self, "sparsity")
        require(math.isfinite(self.initial_logit), "initial_logit", self.initial_logit, "a finite number")


def conflicting_samples(inputs: MethodInputs, settings: MaskingSettings) -> Bool[Tensor, " train"]:
    """Find the bias-conflicting training samples, with the biased network of the settings."""
    return find_conflicting(
        inputs, num_epochs=biased_epochs(settings.biased_share, inputs.config.erm.epochs), q=settings.q
    )


def masking_cost(settings: MaskingSettings, erm: ERMLength, *, own: float) -> Cost:
    """Return the cost of a setting that learns a mask, after a biased network if it favours conflicting samples.

    Args:
        settings: The setting.
        erm: Length of ERM.
        own: Cost of what follows the mask.
    """
    shared = biased_network_cost(settings.biased_share, settings.q, erm)
    return Cost(own + erm.share_of(settings.mask_steps), shared if settings.mask_upweight != 1 else {})


def masked_samples(
    inputs: MethodInputs, settings: MaskingSettings, is_conflicting: Bool[Tensor, " train"]
) -> DebiasingSet:
    """Return how mask learning draws; the pseudo-attribute is bias-aligned (0) or bias-conflicting (1)."""
    weights = upweight(is_conflicting, settings.mask_upweight)
    cells = Cells(inputs.train.labels, is_conflicting.long(), num_values=2)
    return DebiasingSet(cells, weights / weights.sum())


def learn_mask(
    inputs: MethodInputs,
    settings: MaskingSettings,
    samples: DebiasingSet,
    *,
    contrast: float = 0.0,
    temperature: float = 0.07,
) -> BinaryMask:
    """Learn a mask of the ERM network.

    Args:
        inputs: What the method is given.
        settings: Settings of mask learning.
        samples: How samples are drawn.
        contrast: Weight of the debiased contrastive loss.
        temperature: Temperature of that loss.

    Returns:
        The mask after the last step.
    """
    config = MaskConfig(
        steps=settings.mask_steps,
        batch_size=inputs.config.erm.batch_size,
        learning_rate=settings.mask_learning_rate,
        initial_logit=settings.initial_logit,
        beta=contrast,
        contrastive_temperature=temperature,
        sparsity_term="sum-of-logits",
        sparsity=settings.sparsity,
        snapshots=1,
        head=True,
    )
    return learn_masks(
        inputs.erm_network(),
        inputs.train_feed,
        samples,
        config,
        head_name=inputs.head_name,
        generator=inputs.generator("masks"),
        contrast=_contrast,
        progress=inputs.progress,
    ).final


def _contrast(representations: Tensor, labels: Tensor, cluster_ids: Tensor, config: MaskConfig) -> ContrastiveTerms:
    return debiased_contrastive_terms(
        representations, labels, cluster_ids == 1, temperature=config.contrastive_temperature
    )
