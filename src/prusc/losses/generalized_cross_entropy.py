"""The generalised cross-entropy: a loss that gives up on what is hard, and so learns the shortcut first."""

from jaxtyping import Float, Int
from torch import Tensor

from prusc.errors import ConfigError


def generalized_cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], *, q: float = 0.7
) -> Float[Tensor, " batch"]:
    """Return ``(1 - p ** q) / q`` of each sample, where ``p`` is the probability of its class.

    Its gradient is that of the cross-entropy times ``p ** q``, so that samples on which the network fails hardly count.

    Args:
        logits: Of the network.
        labels: Class of each sample.
        q: In (0, 1]: towards 0 it becomes the cross-entropy, 1 is the mean absolute error.

    Returns:
        One loss a sample, at least 0.

    Raises:
        ConfigError: If ``q`` is not in (0, 1].

    References:
        Zhang and Sabuncu 2018, arXiv:1805.07836, equation 6.
    """
    if not 0 < q <= 1:
        raise ConfigError(f"q must be in (0, 1], found {q}")
    log_probability = logits.float().log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    # expm1 keeps the digits of losses near 0.
    return -(q * log_probability).expm1() / q
