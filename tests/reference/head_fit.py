"""Slow, obvious twin of prusc.heads: the documented objective, minimised by gradient descent in double precision."""

import torch
from torch import Tensor


def fit_head(
    representations: Tensor, labels: Tensor, weights: Tensor, num_classes: int, l2: float
) -> tuple[Tensor, Tensor]:
    """Return weight and bias on the original scale; every class needs a sample."""
    values = representations.double()
    share = weights.double() / weights.double().sum()
    mean = sum(s * v for s, v in zip(share, values, strict=True))
    variance = sum(s * (v - mean) ** 2 for s, v in zip(share, values, strict=True))
    standardised = (values - mean) / variance.sqrt()
    weight = torch.zeros(num_classes, values.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(num_classes, dtype=torch.float64, requires_grad=True)
    for _ in range(4000):
        probabilities = (standardised @ weight.T + bias).softmax(dim=1)
        cross_entropy = sum(-s * p[y].log() for s, p, y in zip(share, probabilities, labels, strict=True))
        objective = cross_entropy + penalty(weight, l2)
        gradients = torch.autograd.grad(objective, (weight, bias))
        if max(gradient.abs().max() for gradient in gradients) < 1e-9:
            break
        with torch.no_grad():
            for parameter, gradient in zip((weight, bias), gradients, strict=True):
                parameter -= 0.4 * gradient
    weight = weight.detach() / variance.sqrt()
    return weight, bias.detach() - weight @ mean


def penalty(weight: Tensor, l2: float) -> Tensor:
    if len(weight) == 2:
        return l2 / 2 * (weight[1] - weight[0]).square().sum()
    return l2 / 2 * weight.square().sum()
