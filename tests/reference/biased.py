"""Slow, obvious twin of prusc.stages.pseudo_attributes.biased.fit_biased_head: many small steps in double precision."""

import torch
from torch import Tensor


def fit_biased_head(features: Tensor, labels: Tensor, q: float, l2: float) -> tuple[Tensor, Tensor]:
    """Return weight and bias for standardised features; the head starts from zero."""
    classes = labels.unique().tolist()
    weight = torch.zeros(len(classes), features.shape[1], dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(len(classes), dtype=torch.float64, requires_grad=True)
    for _ in range(1000):
        of_classes = []
        for label in classes:
            probabilities = (features[labels == label] @ weight.T + bias).softmax(dim=1)[:, label]
            of_classes.append(((1 - probabilities**q) / q).mean())
        objective = sum(of_classes) / len(classes) + l2 / 2 * weight.square().sum()
        slopes = torch.autograd.grad(objective, (weight, bias))
        with torch.no_grad():
            weight -= 0.8 * slopes[0]
            bias -= 0.8 * slopes[1]
    return weight.detach(), bias.detach()
