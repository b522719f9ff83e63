"""How an image becomes a square: the interpolation, and the central part that is kept."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prusc.config.data import Interpolation
from prusc.data.images import ImageSource, MadeImage, decode_file


@dataclass(frozen=True)
class Framing:
    """How images become squares, as evaluation transforms of timm and torchvision do it.

    Attributes:
        interpolation: How pixels are interpolated.
        crop_pct: Share of the shorter side that the square shows: the shorter side is resized to the image size divided
            by it, and the central square cut out. 1 keeps the whole shorter side.
    """

    interpolation: Interpolation = "bilinear"
    crop_pct: float = 1.0

    def frame(self, image: ImageSource) -> ImageSource:
        """Return the image with this framing; the same image if the framing is the usual one.

        Raises:
            ConfigError: If prusc makes the image and its interpolation cannot be changed.
        """
        if self == Framing():
            return image
        resample = Image.Resampling[self.interpolation.upper()]
        if isinstance(image, MadeImage) and self.interpolation != "bilinear":
            image = image.with_resampling(resample)
        return FramedImage(image, resample, self.crop_pct)


@dataclass(frozen=True)
class FramedImage(MadeImage):
    """An image with another framing than the usual one.

    Attributes:
        source: The image.
        resample: Interpolation of an image file; images that prusc makes have their own.
        crop_pct: See `Framing`.
    """

    source: ImageSource
    resample: Image.Resampling
    crop_pct: float

    def decode(self, size: int) -> NDArray[np.uint8]:
        """Return the image as an RGB square [size, size, 3]."""
        whole = self.whole_size(size)
        if isinstance(self.source, MadeImage):
            return cut_centre(self.source.decode(whole), size)
        return cut_centre(decode_file(Path(self.source), whole, self.resample), size)

    def find_regions(self, size: int) -> dict[str, NDArray[np.bool_]]:
        """Return the known regions of the image, each [size, size]."""
        if not isinstance(self.source, MadeImage):
            return {}
        return {
            name: cut_centre(inside, size) for name, inside in self.source.find_regions(self.whole_size(size)).items()
        }

    def whole_size(self, size: int) -> int:
        """Return the side of the whole square, of which the central ``size`` pixels are kept."""
        return max(size, math.floor(size / self.crop_pct))


def cut_centre(pixels: NDArray[Any], size: int) -> NDArray[Any]:
    """Return the central square of an array [side, side, ...]."""
    start = (len(pixels) - size) // 2
    return pixels[start : start + size, start : start + size]
