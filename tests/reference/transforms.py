"""Slow, obvious twins of prusc.data.transforms: one pixel at a time, in double precision."""

import math

import numpy as np


def normalise_images(images: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    result = np.empty(images.shape)
    for index in np.ndindex(*images.shape):
        result[index] = (images[index] / 255 - mean[index[1]]) / std[index[1]]
    return result


def crop_image(
    image: np.ndarray, box: tuple[float, float, float, float], *, flipped: bool, size: int | None = None
) -> np.ndarray:
    """Cut left, top, width, height (shares) out of an image [C, H, W] and resize it to [C, H, W] or [C, size, size]."""
    num_channels, height, width = image.shape
    left, top, box_width, box_height = box
    out_height, out_width = (height, width) if size is None else (size, size)
    result = np.empty((num_channels, out_height, out_width))
    for row in range(out_height):
        for column in range(out_width):
            # The centre of the output pixel, as a share of the box, then as a place in the image.
            share_x, share_y = (column + 0.5) / out_width, (row + 0.5) / out_height
            if flipped:
                share_x = 1 - share_x
            x = (left + share_x * box_width) * width - 0.5
            y = (top + share_y * box_height) * height - 0.5
            for channel in range(num_channels):
                result[channel, row, column] = interpolate(image[channel], x, y)
    return result


def interpolate(plane: np.ndarray, x: float, y: float) -> float:
    """Bilinear value at pixel coordinates; outside, the nearest edge pixel."""
    height, width = plane.shape
    x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
    x0, y0 = math.floor(x), math.floor(y)
    x1, y1 = min(x0 + 1, width - 1), min(y0 + 1, height - 1)
    upper = plane[y0, x0] * (x0 + 1 - x) + plane[y0, x1] * (x - x0)
    lower = plane[y1, x0] * (x0 + 1 - x) + plane[y1, x1] * (x - x0)
    return upper * (y0 + 1 - y) + lower * (y - y0)
