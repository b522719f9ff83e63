"""Usual normalisations of images, by name, so that prusc can say which one it uses and try the others."""

from typing import TypeAlias

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

Normalisation: TypeAlias = tuple[tuple[float, ...], tuple[float, ...]]
"""Mean and standard deviation per channel, of intensities in ``[0, 1]``."""

# The first three apply to any number of channels.
_OF_ANY_CHANNEL: dict[str, tuple[float, float]] = {
    "mean 0.5 and std 0.5": (0.5, 0.5),
    "intensities from 0 to 1 (mean 0, std 1)": (0.0, 1.0),
    "intensities from 0 to 255 (mean 0, std 1/255)": (0.0, 1 / 255),
}
_OF_COLOURS: dict[str, Normalisation] = {
    "ImageNet's mean and std": (IMAGENET_MEAN, IMAGENET_STD),
    "CLIP's mean and std": ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "CIFAR-10's mean and std": ((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)),
}


def default_normalisation(num_channels: int) -> Normalisation:
    """Return ImageNet's normalisation for three channels, else mean and standard deviation 0.5."""
    return (IMAGENET_MEAN, IMAGENET_STD) if num_channels == 3 else ((0.5,) * num_channels, (0.5,) * num_channels)


def usual_normalisations(num_channels: int) -> dict[str, Normalisation]:
    """Return the usual normalisations of images with this number of channels, by name."""
    plain = {name: ((mean,) * num_channels, (std,) * num_channels) for name, (mean, std) in _OF_ANY_CHANNEL.items()}
    return {**_OF_COLOURS, **plain} if num_channels == 3 else plain


def name_normalisation(mean: tuple[float, ...], std: tuple[float, ...]) -> str:
    """Return the usual name of a normalisation; its numbers if it has none."""
    for name, (known_mean, known_std) in usual_normalisations(len(mean)).items():
        pairs = zip((*mean, *std), (*known_mean, *known_std), strict=True)
        if all(abs(value - known) < 1e-4 for value, known in pairs):
            return name
    means, stds = (" ".join(f"{value:.4g}" for value in values) for values in (mean, std))
    return f"mean {means} and std {stds}"
