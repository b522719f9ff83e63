"""The loss that keeps the prototypes of an ensemble apart."""

from jaxtyping import Float
from torch import Tensor


def prototype_similarity(
    prototypes: Float[Tensor, "classes dim"], others: Float[Tensor, "members classes dim"]
) -> Float[Tensor, ""]:
    """Return how similar the prototypes of an ensemble's new member are to those of the earlier members.

    For each class, the inner products with the prototypes of the earlier members are summed. The sum is divided by the
    number of members, including the new one. The result is the absolute value of the mean over the classes. The
    published code also divides by the number of dimensions minus one.

    Args:
        prototypes: Prototypes of the new member.
        others: Prototypes of the earlier members; at least one.

    Returns:
        The similarity, at least 0.

    References:
        To et al. 2025, arXiv:2505.23027, the inter-prototype similarity loss, in the form of the published code.
    """
    products = (prototypes * others).sum(dim=2).sum(dim=0)
    return (products / (len(others) + 1)).mean().abs()
