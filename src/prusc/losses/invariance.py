"""The IRMv1 penalty, which measures whether an environment prefers another scale of the logits."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from prusc.errors import ConfigError


def scale_gradients(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return the derivative of each sample's cross-entropy with respect to a common scale of the logits, at scale 1.

    The derivative is the expected logit under the predicted probabilities, minus the logit of the label. It is positive
    where a less confident network would have a lower loss. With two classes, that is exactly where it is wrong.

    Args:
        logits: Logits of each sample.
        labels: Class of each sample.

    Returns:
        Derivatives in nats, differentiable with respect to the logits.

    References:
        Arjovsky et al. 2019, arXiv:1907.02893, section 3.1.
    """
    expected = (logits.softmax(dim=1) * logits).sum(dim=1)
    return expected - logits.gather(1, labels[:, None]).squeeze(1)


def irm_loss(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    memberships: Float[Tensor, "batch environments"],
    *,
    penalty_weight: float,
) -> Float[Tensor, ""]:
    """Return the risk plus the weighted IRMv1 penalty, averaged over the environments.

    The penalty of an environment is the square of its mean scale gradient. The product of the mean gradients of two
    halves of the batch, the even and the odd samples, is an unbiased estimate. It may be negative.

    Args:
        logits: Logits of each sample.
        labels: Class of each sample.
        memberships: Probability that a sample was drawn for each environment; each row sums to 1. Batches come from an
            even mixture of the environments.
        penalty_weight: Weight of the penalty; at least 0.

    Returns:
        The loss in nats. A weight above 1 divides the loss, as in the paper's code, so that a large penalty does not
        make the gradients too large.

    Raises:
        ConfigError: If the weight is below 0.

    References:
        Arjovsky et al. 2019, arXiv:1907.02893, definition IRMv1 and appendix D.
    """
    _check_weight(penalty_weight)
    shares = memberships * memberships.shape[1]
    risks = (shares * F.cross_entropy(logits, labels, reduction="none")[:, None]).mean(dim=0)
    slopes = shares * scale_gradients(logits, labels)[:, None]
    halves = [half.sum(dim=0) / max(len(half), 1) for half in (slopes[::2], slopes[1::2])]
    penalties = halves[0] * halves[1]
    return (risks.mean() + penalty_weight * penalties.mean()) / max(penalty_weight, 1.0)


def full_batch_irm_loss(
    logits: Float[Tensor, "batch classes"],
    labels: Int[Tensor, " batch"],
    probabilities: Float[Tensor, "batch environments"],
    *,
    penalty_weight: float,
) -> Float[Tensor, ""]:
    """Return the risk plus the weighted IRMv1 penalty of whole environments, averaged over these.

    Args:
        logits: Logits of every sample of the split.
        labels: Class of each sample.
        probabilities: Probability of each sample in one draw of each environment; each column sums to 1.
        penalty_weight: Weight of the penalty; at least 0.

    Returns:
        The loss in nats; a weight above 1 divides it, see `irm_loss`.

    Raises:
        ConfigError: If the weight is below 0.

    References:
        Arjovsky et al. 2019, arXiv:1907.02893, definition IRMv1 and appendix D.
    """
    _check_weight(penalty_weight)
    risks = F.cross_entropy(logits, labels, reduction="none") @ probabilities
    penalties = (scale_gradients(logits, labels) @ probabilities).square()
    return (risks.mean() + penalty_weight * penalties.mean()) / max(penalty_weight, 1.0)


def _check_weight(penalty_weight: float) -> None:
    if penalty_weight < 0:
        raise ConfigError(f"penalty_weight must be at least 0, found {penalty_weight}")
