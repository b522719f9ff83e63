"""From stored inputs to the inputs of a network: normalisation and, for training, random flips and crops."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import overload

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from prusc.errors import ConfigError, DataError

_MAX_LOG_ASPECT = math.log(4 / 3)


@dataclass(frozen=True)
class InputTransform:
    """Normalise a batch of images and, if a generator is given, augment it.

    Only images, that is uint8 tensors [B, C, H, W], change. All other inputs (floating-point inputs, token numbers, a
    mapping of tensors) are returned unchanged.

    Attributes:
        mean: Per-channel mean of intensities in ``[0, 1]``.
        std: Per-channel standard deviation; greater than 0.
        flip: Mirror half of the images when augmenting.
        min_crop_scale: Smallest share of the area that a random crop keeps when augmenting, in ``(0, 1]``; 1 turns
            cropping off.
        crop_size: Height and width of the result in pixels, for the central square and for random crops of the whole
            image; ``None`` keeps the size of the image.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    flip: bool = False
    min_crop_scale: float = 1.0
    crop_size: int | None = None

    def __post_init__(self) -> None:
        if len(self.mean) != len(self.std) or not self.mean:
            raise ConfigError(
                f"found {len(self.mean)} means and {len(self.std)} stds; expected one of each per channel"
            )
        if not all(math.isfinite(value) for value in self.mean):
            raise ConfigError(f"mean is {self.mean}; expected finite numbers")
        if not all(math.isfinite(value) and value > 0 for value in self.std):
            raise ConfigError(f"std is {self.std}; expected numbers greater than 0")
        if not 0 < self.min_crop_scale <= 1:
            raise ConfigError(f"min_crop_scale is {self.min_crop_scale}; expected a share greater than 0 and at most 1")
        if self.crop_size is not None and self.crop_size < 1:
            raise ConfigError(f"crop_size is {self.crop_size}; expected at least 1 pixel")

    @overload
    def __call__(self, inputs: Tensor, *, generator: torch.Generator | None = None) -> Tensor: ...

    @overload
    def __call__(
        self, inputs: Mapping[str, Tensor], *, generator: torch.Generator | None = None
    ) -> Mapping[str, Tensor]: ...

    def __call__(
        self, inputs: Tensor | Mapping[str, Tensor], *, generator: torch.Generator | None = None
    ) -> Tensor | Mapping[str, Tensor]:
        """Transform one batch.

        Args:
            inputs: A batch of `prusc.data.batches.iterate_batches`.
            generator: Source of the augmentation; ``None`` does not augment, as evaluation requires.

        Returns:
            float32 [B, C, H, W] for images, otherwise the same object as ``inputs``.

        Raises:
            DataError: If images have another number of channels than ``mean``, or are smaller than ``crop_size``.
        """
        if not isinstance(inputs, Tensor) or inputs.dtype != torch.uint8 or inputs.dim() != 4:
            return inputs
        # Without this check, one channel would be broadcast to three without notice.
        if inputs.shape[1] != len(self.mean):
            raise DataError(
                f"images have {inputs.shape[1]} channel(s), mean and std {len(self.mean)}; expected the same number"
            )
        if self.crop_size is not None and self.crop_size > min(inputs.shape[2:]):
            raise DataError(
                f"images have {inputs.shape[2]} x {inputs.shape[3]} pixels, fewer than crop_size {self.crop_size}; "
                "give a larger image_size, or a smaller crop_size"
            )
        crops = generator is not None and self.min_crop_scale < 1
        if self.crop_size is not None and not crops:
            inputs = crop_centre(inputs, self.crop_size)
        flipped: Tensor | None = None
        if generator is not None and self.flip:
            flipped = torch.rand(len(inputs), generator=generator, device=generator.device) < 0.5
            if not crops:
                inputs = flip_images(inputs, flipped)
        images = normalise_images(inputs, self.mean, self.std)
        if crops:
            assert generator is not None
            boxes = draw_crop_boxes(len(inputs), self.min_crop_scale, generator=generator)
            images = crop_images(images, boxes, flipped, size=self.crop_size)
        return images


def normalise_images(
    images: UInt8[Tensor, "batch channels height width"], mean: tuple[float, ...], std: tuple[float, ...]
) -> Float[Tensor, "batch channels height width"]:
    """Return ``(images / 255 - mean) / std`` as float32, as one multiplication and one addition in place."""
    scale, shift = _scale_and_shift(tuple(mean), tuple(std), images.device)
    return images.to(torch.float32).mul_(scale).add_(shift)


# Copying them to a GPU for each batch would wait for the work before it.
@lru_cache(maxsize=32)
def _scale_and_shift(mean: tuple[float, ...], std: tuple[float, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    # Images that need a gradient could not be multiplied by a tensor from inference mode.
    with torch.inference_mode(False):
        scale = torch.tensor([1 / (255 * value) for value in std], device=device).view(-1, 1, 1)
        shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device).view(-1, 1, 1)
    return scale, shift


def crop_centre(
    images: UInt8[Tensor, "batch channels height width"], size: int
) -> UInt8[Tensor, "batch channels {size} {size}"]:
    """Cut out the central square. If it cannot be exactly central, it lies half a pixel to the left or above."""
    top, left = (images.shape[2] - size) // 2, (images.shape[3] - size) // 2
    return images[:, :, top : top + size, left : left + size]


def flip_images(
    images: UInt8[Tensor, "batch channels height width"], flipped: Bool[Tensor, " batch"]
) -> UInt8[Tensor, "batch channels height width"]:
    """Mirror the chosen images left to right."""
    rows = flipped.nonzero().squeeze(1).to(images.device)
    # Three times as fast on a CPU as torch.where, which reads both versions of each image.
    return images.clone().index_copy_(0, rows, images.index_select(0, rows).flip(-1))


def memory_format_of(images: Float[Tensor, "batch channels height width"]) -> torch.memory_format:
    """Return the memory format of a batch; channels-last only if no other format describes it too."""
    channels_last = images.is_contiguous(memory_format=torch.channels_last) and not images.is_contiguous()
    return torch.channels_last if channels_last else torch.contiguous_format


def draw_crop_boxes(
    num_images: int, min_scale: float, *, generator: torch.Generator
) -> Float[Tensor, "{num_images} 4"]:
    """Draw a random box inside each image.

    The area is uniform in ``[min_scale, 1]``. The logarithm of the aspect ratio, relative to the image's own, is
    uniform in ``[log 3/4, log 4/3]`` where a box of that area fits. The place is uniform where the box fits.

    Args:
        num_images: Number of boxes.
        min_scale: Smallest area, as a share of the image's area.
        generator: Source of the randomness; the boxes are on its device.

    Returns:
        Left, top, width and height, as shares of the image's width and height.
    """
    draws = torch.rand(4, num_images, generator=generator, device=generator.device)
    area = min_scale + (1 - min_scale) * draws[0]
    max_log_aspect = (-area.log()).clamp(0, _MAX_LOG_ASPECT)
    root_of_aspect = ((2 * draws[1] - 1) * max_log_aspect / 2).exp()
    width = (area.sqrt() * root_of_aspect).clamp(max=1)
    height = (area.sqrt() / root_of_aspect).clamp(max=1)
    return torch.stack([(1 - width) * draws[2], (1 - height) * draws[3], width, height], dim=1)


def crop_images(
    images: Float[Tensor, "batch channels height width"],
    boxes: Float[Tensor, "batch 4"],
    flipped: Bool[Tensor, " batch"] | None = None,
    *,
    size: int | None = None,
) -> Float[Tensor, "batch channels out_height out_width"]:
    """Cut out the boxes and resize them (bilinear).

    Args:
        images: Any scale.
        boxes: See `draw_crop_boxes`.
        flipped: Whether each image is mirrored left to right too; ``None`` mirrors none.
        size: Height and width of the crops in pixels; ``None`` keeps those of the images.

    Returns:
        The crops.
    """
    left, top, width, height = boxes.to(images).unbind(1)
    zero = torch.zeros_like(left)
    # grid_sample's coordinates run from -1 to 1 across the image, so the share s lies at 2s - 1.
    centre_x, centre_y = 2 * left + width - 1, 2 * top + height - 1
    if flipped is not None:
        width = torch.where(flipped.to(images.device), -width, width)
    affine = torch.stack([width, zero, centre_x, zero, height, centre_y], dim=1).view(-1, 2, 3)
    out_size = images.shape[2:] if size is None else (size, size)
    grid = F.affine_grid(affine, [*images.shape[:2], *out_size], align_corners=False)
    crops = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    # grid_sample does not keep the memory layout, without which the network that follows loses a third of its speed
    # on a CPU.
    return crops.contiguous(memory_format=memory_format_of(images))
