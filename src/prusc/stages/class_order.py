"""Whether a trained network numbers the classes as the data do."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

# Standard errors by which another order must be better. There are many orders, so chance finds a better one.
_NUM_ERRORS = 4.0
_MIN_GAIN = 0.1


@dataclass(frozen=True)
class ClassOrder:
    """How well predictions fit the labels, as they are and with the classes in another order.

    Attributes:
        accuracy: Share of right predictions.
        best_accuracy: The same if the outputs stood for the classes in the best order.
        best_order: For each output, the class that it stands for in the best order.
        fits_better: Whether the best order is better beyond chance, so that the given one is probably wrong.
    """

    accuracy: float
    best_accuracy: float
    best_order: tuple[int, ...]
    fits_better: bool


def find_class_order(
    predictions: Int[Tensor, " samples"], labels: Int[Tensor, " samples"], num_classes: int
) -> ClassOrder:
    """Find the order of classes in which predictions fit the labels best.

    Args:
        predictions: Number of the largest output, for each sample.
        labels: Class of each sample.
        num_classes: Number of classes.

    Returns:
        The best order by the assignment that maximises the accuracy.

    Example:
        >>> import torch
        >>> labels = torch.arange(60) % 3
        >>> found = find_class_order((labels + 1) % 3, labels, 3)
        >>> found.accuracy, found.best_accuracy, found.best_order
        (0.0, 1.0, (2, 0, 1))
    """
    from scipy.optimize import linear_sum_assignment

    counts = torch.bincount(predictions * num_classes + labels, minlength=num_classes**2).view(num_classes, num_classes)
    # A tiny bonus keeps the given order where another one is only as good.
    _, best = linear_sum_assignment(counts.double().numpy() + 1e-6 * torch.eye(num_classes).numpy(), maximize=True)
    order = torch.from_numpy(best)
    right, right_then = predictions == labels, order[predictions] == labels
    num_lost, num_won = int((right & ~right_then).sum()), int((right_then & ~right).sum())
    accuracy, best_accuracy = right.double().mean().item(), right_then.double().mean().item()
    # Samples that change sides, as in McNemar's test.
    errors = (num_won - num_lost) / math.sqrt(max(num_won + num_lost, 1))
    return ClassOrder(
        accuracy,
        best_accuracy,
        tuple(order.tolist()),
        fits_better=best_accuracy - accuracy >= _MIN_GAIN and errors >= _NUM_ERRORS,
    )
