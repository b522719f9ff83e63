"""The IRMv1 penalty: how much one scale of the logits would suit an environment better than the common one."""

from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from prusc.errors import ConfigError


def scale_gradients(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return the slope of each sample's cross-entropy in a common scale of the logits, at scale 1.

    That slope is the logit to be expected under the predicted probabilities, less the logit of the label. It is
    positive where the network would do better to be less sure: with two classes, exactly where it is wrong.

    Args:
        logits: Of each sample.
        labels: Class of each sample.

    Returns:
        Slopes in nats, differentiable in the logits.

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
    """Return the mean over the environments of risk and weighted IRMv1 penalty.

    The penalty is the square of the mean slope of an environment. It is estimated without bias as the product of the
    mean slopes of two halves of the batch, the even and the odd samples, and so may be below 0.

    Args:
        logits: Of each sample.
        labels: Class of each sample.
        memberships: How probable it is that a sample was drawn for an environment; each row has sum 1. Batches are
            drawn from an even mixture of the environments.
        penalty_weight: At least 0.

    Returns:
        The loss in nats, divided by the weight where that is above 1, as in the paper's code, so that a heavy penalty
        does not blow the gradients up.

    Raises:
        ConfigError: If the weight is below 0.

    References:
        Arjovsky et al. 2019, arXiv:1907.02893, definition IRMv1 and appendix D.
    """
    if penalty_weight < 0:
        raise ConfigError(f"penalty_weight must be at least 0, found {penalty_weight}")
    shares = memberships * memberships.shape[1]
    risks = (shares * F.cross_entropy(logits, labels, reduction="none")[:, None]).mean(dim=0)
    slopes = shares * scale_gradients(logits, labels)[:, None]
    halves = [half.sum(dim=0) / max(len(half), 1) for half in (slopes[::2], slopes[1::2])]
    penalties = halves[0] * halves[1]
    return (risks.mean() + penalty_weight * penalties.mean()) / max(penalty_weight, 1.0)
