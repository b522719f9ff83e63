"""Slow, obvious twin of prusc.losses.generalized_cross_entropy, in plain Python."""

import math
from collections.abc import Sequence


def generalized_cross_entropy(logits: Sequence[float], label: int, q: float) -> float:
    probability = math.exp(logits[label]) / sum(math.exp(logit) for logit in logits)
    return (1 - probability**q) / q
