"""The contrastive loss of DCWP, in which bias-conflicting samples pull their class together."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from prusc.losses.contrastive import ContrastiveTerms, contrast_pairs


def debiased_contrastive_terms(
    representations: Float[Tensor, "batch dim"],
    labels: Int[Tensor, " batch"],
    is_conflicting: Bool[Tensor, " batch"],
    *,
    temperature: float = 0.07,
) -> ContrastiveTerms:
    """Pull samples of one class together if at least one of the two is bias-conflicting.

    Two bias-aligned samples of a class are not positives, because they may share only the shortcut. The denominator
    holds every other sample of the batch, including those of the anchor's class, as in the supervised contrastive loss.

    Args:
        representations: Any scale; compared by cosine similarity.
        labels: Class of each sample.
        is_conflicting: Whether each sample counts as bias-conflicting.
        temperature: Divides the similarities; greater than 0.

    Returns:
        The loss and the number of anchors without a positive.

    Raises:
        ConfigError: If ``temperature <= 0``.

    References:
        Park et al. 2023, arXiv:2210.05247; Khosla et al. 2020, arXiv:2004.11362.
    """
    is_other = ~torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    same_class = labels[:, None] == labels[None, :]
    either_conflicts = is_conflicting[:, None] | is_conflicting[None, :]
    return contrast_pairs(representations, same_class & either_conflicts & is_other, is_other, temperature=temperature)
