"""Measures of a picture the long way: one pixel at a time, in plain Python."""

import math
from collections.abc import Sequence

Picture = Sequence[Sequence[tuple[int, int, int]]]


def lab(pixel: tuple[int, int, int]) -> tuple[float, float, float]:
    """CIELAB of an 8-bit sRGB pixel under D65, divided by 100."""
    linear = [v / 255 / 12.92 if v / 255 <= 0.04045 else ((v / 255 + 0.055) / 1.055) ** 2.4 for v in pixel]
    red, green, blue = linear
    x = (0.4124564 * red + 0.3575761 * green + 0.1804375 * blue) / 0.95047
    y = 0.2126729 * red + 0.7151522 * green + 0.0721750 * blue
    z = (0.0193339 * red + 0.1191920 * green + 0.9503041 * blue) / 1.08883

    def bend(value: float) -> float:
        return value ** (1 / 3) if value > 216 / 24389 else (24389 / 27 * value + 16) / 116

    return (
        (116 * bend(y) - 16) / 100,
        500 * (bend(x) - bend(y)) / 100,
        200 * (bend(y) - bend(z)) / 100,
    )


def mean_lab(picture: Picture, rows: range, columns: range) -> list[float]:
    """Mean over a part of a picture."""
    found = [lab(picture[row][column]) for row in rows for column in columns]
    return [sum(values) / len(found) for values in zip(*found, strict=True)]


def sharpness(picture: Picture) -> float:
    """Binary logarithm of the variance of the Laplacian of the gray picture over the variance of the gray picture."""
    gray = [[(0.299 * r + 0.587 * g + 0.114 * b) / 255 for r, g, b in row] for row in picture]
    found = [
        gray[i - 1][j] + gray[i + 1][j] + gray[i][j - 1] + gray[i][j + 1] - 4 * gray[i][j]
        for i in range(1, len(gray) - 1)
        for j in range(1, len(gray[0]) - 1)
    ]
    return math.log2((_variance(found) + 1e-8) / (_variance([value for row in gray for value in row]) + 1e-8))


def _variance(values: Sequence[float]) -> float:
    mean = sum(values) / len(values)
    return sum((value - mean) ** 2 for value in values) / len(values)
