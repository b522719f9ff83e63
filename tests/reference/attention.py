"""The share of attention inside a region, pixel by pixel."""

import math

from torch import Tensor


def share_inside_slowly(attention: Tensor, inside: Tensor) -> float:
    """Of one map [rows, columns], enlarged by hand to the region's size [height, width]."""
    total = within = 0.0
    height, width = inside.shape
    for y in range(height):
        for x in range(width):
            value = _value_at(attention, (y + 0.5) / height, (x + 0.5) / width)
            total += value
            within += value if inside[y, x] else 0.0
    return within / total if total > 0 else math.nan


def _value_at(attention: Tensor, down: float, along: float) -> float:
    """Mix the four values around a place; beyond the outer centres the value of the edge goes on."""
    rows, columns = attention.shape
    y = min(max(down * rows - 0.5, 0.0), rows - 1.0)
    x = min(max(along * columns - 0.5, 0.0), columns - 1.0)
    top, left = int(y), int(x)
    bottom, right = min(top + 1, rows - 1), min(left + 1, columns - 1)
    upper = attention[top, left] * (1 - (x - left)) + attention[top, right] * (x - left)
    lower = attention[bottom, left] * (1 - (x - left)) + attention[bottom, right] * (x - left)
    return float(upper * (1 - (y - top)) + lower * (y - top))
