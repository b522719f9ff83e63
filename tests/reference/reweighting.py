"""Slow, obvious twins of the sample weights of prusc.methods.lff and prusc.methods.afr, in plain Python."""

import math
from collections.abc import Sequence


def loss_averages(
    batches: Sequence[tuple[Sequence[int], Sequence[float]]], labels: Sequence[int], memory: float
) -> list[list[float]]:
    """Return for each batch (indices, losses) the averages as a share of the largest one of the class."""
    averages: dict[int, float] = {}
    found = []
    for indices, losses in batches:
        for index, loss in zip(indices, losses, strict=True):
            averages[index] = memory * averages[index] + (1 - memory) * loss if index in averages else loss
        found.append(
            [
                averages[index] / max(value for other, value in averages.items() if labels[other] == labels[index])
                for index in indices
            ]
        )
    return found


def afr_weights(logits: Sequence[Sequence[float]], labels: Sequence[int], sharpness: float) -> list[float]:
    weights = []
    for row, label in zip(logits, labels, strict=True):
        probability = math.exp(row[label]) / sum(math.exp(logit) for logit in row)
        weights.append(math.exp(-sharpness * probability) / labels.count(label))
    return [weight / sum(weights) for weight in weights]
