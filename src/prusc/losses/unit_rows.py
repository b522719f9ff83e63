"""Directions of vectors, at any scale."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def unit_rows(values: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
    """Scale each row to length 1.

    The squares of very large and very small numbers leave the range of floating point. So each row is first divided by
    a power of two, which changes no digit.

    Args:
        values: The rows; a row of zeros stays one.

    Returns:
        Rows of length 1.
    """
    _, exponents = torch.frexp(values.detach().abs().amax(dim=1, keepdim=True))
    # In two steps, because the inverse of a very small number is out of range too.
    half = exponents.div(2, rounding_mode="floor")
    scaled = values * torch.exp2(-half.to(values.dtype)) * torch.exp2(-(exponents - half).to(values.dtype))
    return F.normalize(scaled, dim=1)
