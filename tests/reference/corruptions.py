"""Corruptions of one image [H, W, 3], pixel by pixel."""

import colorsys
import math

import numpy as np
from numpy.typing import NDArray


def change_hsv_slowly(
    image: NDArray[np.float64], *, value_shift: float = 0.0, factor: float = 1.0, shift: float = 0.0
) -> NDArray[np.float64]:
    result = np.empty_like(image)
    for row in range(image.shape[0]):
        for column in range(image.shape[1]):
            hue, saturation, value = colorsys.rgb_to_hsv(*image[row, column].tolist())
            saturation = min(max(factor * saturation + shift, 0.0), 1.0)
            result[row, column] = colorsys.hsv_to_rgb(hue, saturation, min(value + value_shift, 1.0))
    return result


def reduce_contrast_slowly(image: NDArray[np.float64], factor: float) -> NDArray[np.float64]:
    result = np.empty_like(image)
    for channel in range(3):
        mean = sum(image[:, :, channel].ravel().tolist()) / image[:, :, channel].size
        for row in range(image.shape[0]):
            for column in range(image.shape[1]):
                result[row, column, channel] = mean + factor * (image[row, column, channel] - mean)
    return result


def blur_along_slowly(layer: NDArray[np.float64], radius: int, sigma: float, angle: float) -> NDArray[np.float64]:
    height, width = layer.shape
    weights = [math.exp(-step * step / (2 * sigma * sigma)) for step in range(2 * radius + 1)]
    result = np.zeros_like(layer)
    for row in range(height):
        for column in range(width):
            for step, weight in enumerate(weights):
                at_row = row + math.ceil(step * math.sin(math.radians(angle)) - 0.5)
                at_column = column + math.ceil(step * math.cos(math.radians(angle)) - 0.5)
                value = layer[min(max(at_row, 0), height - 1), min(max(at_column, 0), width - 1)]
                result[row, column] += weight / sum(weights) * value
    return result


def disturbances_of_clouds_slowly(heights: NDArray[np.float64]) -> list[tuple[int, NDArray[np.float64]]]:
    """For each step of the diamond-square algorithm, how far each new point is from the mean of its four neighbours."""
    size = len(heights)
    found = []
    step = size
    while step >= 2:
        half = step // 2
        away = []
        for row in range(0, size, step):
            for column in range(0, size, step):
                corners = [(row, column), (row + step, column), (row, column + step), (row + step, column + step)]
                centre = (row + half, column + half)
                away.append(heights[centre] - sum(heights[r % size, c % size] for r, c in corners) / 4)
                for r, c in ((row, column + half), (row + half, column)):
                    around = [(r - half, c), (r + half, c), (r, c - half), (r, c + half)]
                    away.append(heights[r, c] - sum(heights[i % size, j % size] for i, j in around) / 4)
        found.append((step, np.array(away)))
        step = half
    return found
