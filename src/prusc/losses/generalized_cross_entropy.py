"""The generalised cross-entropy, which ignores hard samples and so learns the shortcut first."""

from jaxtyping import Float, Int
from torch import Tensor

from prusc.errors import ConfigError


def generalized_cross_entropy(
    logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], *, q: float = 0.7
) -> Float[Tensor, " batch"]:
    """Return ``(1 - p ** q) / q`` of each sample, where ``p`` is the predicted probability of its class.

    Its gradient is that of the cross-entropy times ``p ** q``, so samples that the network gets wrong hardly count.

    Args:
        logits: Logits of the network.
        labels: Class of each sample.
        q: Exponent in (0, 1]. Towards 0 the loss approaches the cross-entropy; 1 gives the mean absolute error.

    Returns:
        One loss per sample, at least 0.

    Raises:
        ConfigError: If ``q`` is not in (0, 1].

    References:
        Zhang and Sabuncu 2018, arXiv:1805.07836, equation 6.
    """
    if not 0 < q <= 1:
        raise ConfigError(f"q must be in (0, 1], found {q}")
    log_probability = logits.float().log_softmax(dim=1).gather(1, labels[:, None])[:, 0]
    # expm1 keeps the precision of losses near 0.
    return -(q * log_probability).expm1() / q
