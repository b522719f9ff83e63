"""Whether parts of the picture that should not matter tell the class: its border, and its background."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn import functional as F

from prusc.stages.audit.image_features import border_of
from prusc.stages.evaluation import wilson_interval
from prusc.stages.folds import draw_folds
from prusc.stages.heads import fit_head

_NUM_FOLDS = 5
# Strong enough that a probe of 200 pixels converges in a few steps and does not learn single samples by heart.
_L2 = 0.1
# A picture whose object touches the border tells a little of its class there; a warning needs more than that.
_SHARE_OF_THE_WAY = 0.1

# Parts of a picture: the side of the grid of means, and the share of it on each side that counts.
PARTS = {"border": (16, 1 / 16), "background": (8, 1 / 4)}


@dataclass(frozen=True)
class ClassProbe:
    """How well a logistic regression tells the class from one part of the picture.

    Attributes:
        part: ``border`` (the outer sixteenth on each side) or ``background`` (all but the central half of each side).
        num_samples: Number of samples that were predicted.
        accuracy: Balanced accuracy in [0, 1] on samples that the regression was fitted without.
        ci95: Its 95 % interval.
        chance: Balanced accuracy of guessing.
        tells_class: Whether the interval lies above chance by at least a tenth of the way from chance to 1.
    """

    part: str
    num_samples: int
    accuracy: float
    ci95: tuple[float, float]
    chance: float
    tells_class: bool


def take_part(images: UInt8[Tensor, "batch channels height width"], part: str) -> Float[Tensor, "batch dim"]:
    """Return the mean colours of a part of each picture, on a coarse grid.

    Args:
        images: Gray or RGB pictures.
        part: ``border`` or ``background``.
    """
    side, share = PARTS[part]
    grid = F.adaptive_avg_pool2d(images.expand(-1, 3, -1, -1).float() / 255, side)
    return grid[..., border_of(side, side, share)].flatten(1)


def probe_class(
    values: Float[Tensor, "samples dim"], labels: Int[Tensor, " samples"], part: str, *, generator: torch.Generator
) -> ClassProbe | None:
    """Predict the class from a part of the picture, by cross-fitted logistic regression with balanced classes.

    Args:
        values: The part of each picture, see `take_part`.
        labels: Class of each sample; classes with fewer than 5 samples are left out.
        part: Name of the part.
        generator: Decides the folds.

    Returns:
        The result; ``None`` if fewer than two classes are left.
    """
    counts = torch.bincount(labels)
    kept = counts[labels] >= _NUM_FOLDS
    values, (classes, targets) = values[kept], labels[kept].unique(return_inverse=True)
    if len(classes) < 2:
        return None
    folds = draw_folds(targets, _NUM_FOLDS, generator)
    weights = 1 / torch.bincount(targets).double()[targets]
    predictions = torch.empty_like(targets)
    for fold in range(_NUM_FOLDS):
        own = folds == fold
        head = fit_head(values[~own], targets[~own], weights[~own], l2=_L2, num_classes=len(classes))
        predictions[own] = head.logits(values[own]).argmax(dim=1)
    accuracy, (low, high) = balanced_accuracy(predictions == targets, targets)
    chance = 1 / len(classes)
    tells = low > chance + _SHARE_OF_THE_WAY * (1 - chance)
    return ClassProbe(part, len(targets), accuracy, (low, high), chance, tells)


def balanced_accuracy(right: Tensor, labels: Int[Tensor, " samples"]) -> tuple[float, tuple[float, float]]:
    """Return the mean accuracy over the classes and its 95 % interval.

    Args:
        right: Whether each prediction is right.
        labels: Class of each sample; every class below the highest has samples.

    References:
        Zou and Donner 2008, Statistics in Medicine 27, 1693-1702: combines the Wilson intervals of the classes.
    """
    below = above = total = 0.0
    num_classes = int(labels.max()) + 1
    for label in range(num_classes):
        own = right[labels == label]
        share = own.double().mean().item()
        low, high = wilson_interval(int(own.sum()), len(own))
        total += share
        below += (share - low) ** 2
        above += (high - share) ** 2
    mean = total / num_classes
    return mean, (max(0.0, mean - below**0.5 / num_classes), min(1.0, mean + above**0.5 / num_classes))
