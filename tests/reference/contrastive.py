"""Slow, obvious twin of prusc.losses.contrastive: one anchor, one pair at a time, in plain Python."""

import math
from collections.abc import Sequence

Vector = Sequence[float]


def cosine(first: Vector, second: Vector) -> float:
    dot = sum(x * y for x, y in zip(first, second, strict=True))
    return dot / math.sqrt(sum(x * x for x in first)) / math.sqrt(sum(y * y for y in second))


def contrastive_loss(
    representations: Sequence[Vector],
    labels: Sequence[int],
    cluster_ids: Sequence[int],
    temperature: float,
    negatives: str,
) -> tuple[float, int]:
    """Return the loss and the number of anchors without a positive."""
    losses, num_without = [], 0
    for i, anchor in enumerate(representations):
        positives, others = [], []
        for j, other in enumerate(representations):
            if j == i:
                continue
            similarity = cosine(anchor, other) / temperature
            if labels[j] == labels[i] and cluster_ids[j] != cluster_ids[i]:
                positives.append(similarity)
            elif cluster_ids[j] == cluster_ids[i] and (negatives == "cluster" or labels[j] != labels[i]):
                others.append(similarity)
        if not positives:
            num_without += 1
            continue
        denominator = sum(math.exp(similarity) for similarity in positives + others)
        losses.append(sum(-math.log(math.exp(p) / denominator) for p in positives) / len(positives))
    return (sum(losses) / len(losses) if losses else 0.0), num_without
