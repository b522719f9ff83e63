"""The supervised contrastive loss that breaks up clusters: L_task of PruSC."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from prusc.errors import ConfigError
from prusc.losses.unit_rows import unit_rows

Negatives = Literal["other-class", "cluster"]


class ContrastiveTerms(NamedTuple):
    """The loss, and the number of anchors without a positive.

    Attributes:
        loss: Mean over the anchors that have a positive, in nats; a differentiable 0 if there is none.
        num_without_positives: Number of anchors that were left out.
    """

    loss: Float[Tensor, ""]
    num_without_positives: Int[Tensor, ""]


def cluster_contrastive_terms(
    representations: Float[Tensor, "batch dim"],
    labels: Int[Tensor, " batch"],
    cluster_ids: Int[Tensor, " batch"],
    *,
    temperature: float = 0.07,
    negatives: Negatives = "other-class",
) -> ContrastiveTerms:
    """Compute `cluster_contrastive_loss` and the number of anchors that it leaves out.

    Args:
        representations: See `cluster_contrastive_loss`.
        labels: See `cluster_contrastive_loss`.
        cluster_ids: See `cluster_contrastive_loss`.
        temperature: See `cluster_contrastive_loss`.
        negatives: See `cluster_contrastive_loss`.

    Returns:
        The loss and the number.

    Raises:
        ConfigError: If ``temperature <= 0`` or ``negatives`` is unknown.
    """
    if negatives not in ("other-class", "cluster"):
        raise ConfigError(f"negatives must be 'other-class' or 'cluster', found {negatives!r}")
    same_class = labels[:, None] == labels[None, :]
    same_cluster = cluster_ids[:, None] == cluster_ids[None, :]
    is_positive = same_class & ~same_cluster
    is_negative = same_cluster & ~same_class
    if negatives == "cluster":
        is_negative = same_cluster.clone().fill_diagonal_(False)
    return contrast_pairs(representations, is_positive, is_positive | is_negative, temperature=temperature)


def contrast_pairs(
    representations: Float[Tensor, "batch dim"],
    is_positive: Bool[Tensor, "batch batch"],
    is_compared: Bool[Tensor, "batch batch"],
    *,
    temperature: float,
) -> ContrastiveTerms:
    """Pull each anchor towards its positives, relative to all samples that it is compared with.

    Args:
        representations: Any scale; compared by cosine similarity.
        is_positive: Whether the sample of a column is a positive of the anchor of a row.
        is_compared: Whether the sample of a column is in the denominator of the anchor of a row; positives must be.
        temperature: Divides the similarities; greater than 0.

    Returns:
        The loss and the number of anchors without a positive.

    Raises:
        ConfigError: If ``temperature <= 0``.
    """
    if temperature <= 0:
        raise ConfigError(f"temperature must be greater than 0, found {temperature}")
    # exp(1 / 0.07) summed over a batch is too large for half precision.
    unit = unit_rows(representations.float())
    similarities = unit @ unit.T / temperature
    num_positives = is_positive.sum(dim=1)
    has_positive = num_positives > 0
    # Anchors without a positive do not count, but compare them with all: of nothing, the log is -inf, and 0 * inf makes
    # the gradient NaN. Selecting the others instead would make a GPU wait.
    is_compared = is_compared | ~has_positive[:, None]
    log_denominator = similarities.masked_fill(~is_compared, -torch.inf).logsumexp(dim=1)
    mean_positive = (similarities * is_positive).sum(dim=1) / num_positives.clamp(min=1)
    per_anchor = torch.where(has_positive, log_denominator - mean_positive, 0.0)
    loss = per_anchor.sum() / has_positive.sum().clamp(min=1)
    return ContrastiveTerms(loss, (~has_positive).sum())


def cluster_contrastive_loss(
    representations: Float[Tensor, "batch dim"],
    labels: Int[Tensor, " batch"],
    cluster_ids: Int[Tensor, " batch"],
    *,
    temperature: float = 0.07,
    negatives: Negatives = "other-class",
) -> Float[Tensor, ""]:
    """Pull samples of one class together across clusters.

    Positives of an anchor share its label but not its cluster; negatives share its cluster but not its label. Anchors
    without a positive are left out. One matrix product gives all pairs, so one forward pass per batch is enough.

    Args:
        representations: Any scale; compared by cosine similarity.
        labels: Class of each sample.
        cluster_ids: Cluster of each sample.
        temperature: Divides the similarities; greater than 0.
        negatives: ``"other-class"`` as in the paper, or ``"cluster"`` as in the public code. The latter takes every
            other sample of the cluster, including those of the anchor's own class.

    Returns:
        Mean over the anchors in nats; a differentiable 0 if there is none.

    Raises:
        ConfigError: If ``temperature <= 0`` or ``negatives`` is unknown.

    References:
        Le et al. 2024, arXiv:2407.14974, L_task; Khosla et al. 2020, arXiv:2004.11362.
    """
    return cluster_contrastive_terms(
        representations, labels, cluster_ids, temperature=temperature, negatives=negatives
    ).loss
