"""What keeps the prototypes of an ensemble apart."""

from jaxtyping import Float
from torch import Tensor


def prototype_similarity(
    prototypes: Float[Tensor, "classes dim"], others: Float[Tensor, "members classes dim"]
) -> Float[Tensor, ""]:
    """Return how alike the prototypes of a new member of an ensemble are to those of the members before it.

    Args:
        prototypes: Of the new member.
        others: Of the members before, of which there is at least one.

    Returns:
        The size of the mean over the classes of the sum of the inner products with the others, divided by their number
        with the new one counted. The published code also divides by the dimensions less one.

    References:
        To et al. 2025, arXiv:2505.23027, the inter-prototype similarity loss, in the form of the published code.
    """
    products = (prototypes * others).sum(dim=2).sum(dim=0)
    return (products / (len(others) + 1)).mean().abs()
