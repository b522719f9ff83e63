"""Slow, obvious twins of the heads of prusc.methods.dfr and prusc.methods.afr: plain gradient steps, many of them."""

import torch
from torch import Tensor


def cross_entropy_slope(values: Tensor, labels: Tensor, weights: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the gradient of the weighted sum of cross-entropies in (weight, bias), one sample at a time."""
    slope = torch.zeros(len(bias), values.shape[1] + 1, dtype=torch.float64)
    for value, label, share in zip(values.double(), labels, weights.double(), strict=True):
        error = (weight @ value + bias).softmax(dim=0)
        error[label] -= 1
        slope += share * error[:, None] * torch.cat([value, value.new_ones(1)])
    return slope


def sparse_head(values: Tensor, labels: Tensor, num_classes: int, inverse_strength: float) -> tuple[Tensor, Tensor]:
    """Minimise C * sum of cross-entropies + sum of absolute weights, by small steps and shrinking."""
    weight = torch.zeros(num_classes, values.shape[1], dtype=torch.float64)
    bias = torch.zeros(num_classes, dtype=torch.float64)
    step = 0.3 / (inverse_strength * len(values))
    for _ in range(800):
        slope = inverse_strength * cross_entropy_slope(values, labels, torch.ones(len(values)), weight, bias)
        weight = weight - step * slope[:, :-1]
        weight = weight.sign() * (weight.abs() - step).clamp(min=0)
        bias = bias - step * slope[:, -1]
    return weight, bias


def near_head(
    values: Tensor, labels: Tensor, weights: Tensor, origin: tuple[Tensor, Tensor], l2: float
) -> tuple[Tensor, Tensor]:
    """Minimise the weighted cross-entropy + l2 * squared distance from the origin, by small steps."""
    start = torch.cat([origin[0], origin[1][:, None]], dim=1).double()
    head = start.clone()
    for _ in range(800):
        slope = cross_entropy_slope(values, labels, weights, head[:, :-1], head[:, -1])
        head = head - 0.2 * (slope + 2 * l2 * (head - start))
    return head[:, :-1], head[:, -1]
