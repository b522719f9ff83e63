"""Directions of vectors, at any scale."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

# Squares of numbers of rows this long stay in the range of 32 bits, and so do those that count among them.
_SHORTEST, _LONGEST = 1e-12, 1e15


def unit_rows(values: Float[Tensor, "rows dim"]) -> Float[Tensor, "rows dim"]:
    """Scale each row to length 1.

    The squares of very large and very small numbers leave the range of floating point. So each row is first divided by
    a power of two, which changes no digit.

    Args:
        values: The rows; a row of zeros stays one.

    Returns:
        Rows of length 1.
    """
    if values.device.type == "cpu" and len(values) and values.dtype == torch.float32 and not values.requires_grad:
        lengths = torch.linalg.vector_norm(values, dim=1, keepdim=True)
        if bool((lengths.amin() > _SHORTEST) & (lengths.amax() < _LONGEST)):
            unit: Tensor = values / lengths  # Ten times as fast, with the same digits.
            return unit
    _, exponents = torch.frexp(values.detach().abs().amax(dim=1, keepdim=True))
    # In two steps, because the inverse of a very small number is out of range too.
    half = exponents.div(2, rounding_mode="floor")
    scaled = values * torch.exp2(-half.to(values.dtype)) * torch.exp2(-(exponents - half).to(values.dtype))
    return F.normalize(scaled, dim=1)
