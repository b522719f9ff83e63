"""Slow, obvious twin of prusc.losses.debiased_contrastive: one anchor, one pair at a time, in plain Python."""

import math
from collections.abc import Sequence

from tests.reference.contrastive import Vector, cosine


def debiased_contrastive_loss(
    representations: Sequence[Vector], labels: Sequence[int], is_conflicting: Sequence[bool], temperature: float
) -> tuple[float, int]:
    """Return the loss and the number of anchors without a positive."""
    losses, num_without = [], 0
    for i, anchor in enumerate(representations):
        others = {j: cosine(anchor, other) / temperature for j, other in enumerate(representations) if j != i}
        positives = [j for j in others if labels[j] == labels[i] and (is_conflicting[i] or is_conflicting[j])]
        if not positives:
            num_without += 1
            continue
        denominator = sum(math.exp(similarity) for similarity in others.values())
        losses.append(sum(-math.log(math.exp(others[j]) / denominator) for j in positives) / len(positives))
    return (sum(losses) / len(losses) if losses else 0.0), num_without
