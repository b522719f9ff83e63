"""Slow, obvious twin of prusc.masks.gumbel_sigmoid: one weight at a time, in plain Python."""

import math


def sigmoid(value: float) -> float:
    return 1 / (1 + math.exp(-value)) if value >= 0 else math.exp(value) / (1 + math.exp(value))


def soft_mask(logit: float, uniform: float, temperature: float) -> float:
    noise = math.log(uniform) - math.log(1 - uniform)
    return sigmoid((logit + noise) / temperature)


def masked_weight(logit: float, weight: float, uniform: float, temperature: float) -> float:
    return weight if soft_mask(logit, uniform, temperature) >= 0.5 else 0.0


def straight_through_gradient(
    logit: float, weight: float, uniform: float, temperature: float, gradient: float
) -> float:
    """Slope of the soft mask, by a difference quotient, times what arrives at the masked weight."""
    step = 1e-5 * temperature
    above, below = (soft_mask(logit + sign * step, uniform, temperature) for sign in (1, -1))
    return gradient * weight * (above - below) / (2 * step)
