"""Slow, obvious twin of prusc.stages.pseudo_attributes.twins: one draw, one sample, one step of autograd at a time."""

import torch
from torch import Tensor
from torch.nn import functional as F


def train_twins(
    features: Tensor,
    labels: Tensor,
    own: list[int],
    batches: list[list[int]],
    uniform: list[list[float]],
    settings: tuple[float, float, int],
) -> tuple[list[Tensor], list[int]]:
    """Return both heads and the dynamic labels of one draw, whose settings are rate, decay and batch size."""
    rate, decay, size = settings
    num_classes = int(labels.max()) + 1
    twins = [torch.zeros(num_classes, features.shape[1], requires_grad=True) for _ in range(2)]
    optimizer = torch.optim.SGD(twins, lr=rate, momentum=0.9, weight_decay=decay)
    dynamic = labels.tolist()
    for batch, numbers in zip(batches, uniform, strict=True):
        batch, numbers = batch[:size], numbers[:size]
        losses: dict[int, list[Tensor]] = {}
        flips: dict[int, int] = {}
        for index, number in zip(batch, numbers, strict=True):
            logits = twins[own[index]] @ features[index]
            losses.setdefault(dynamic[index], []).append(F.cross_entropy(logits, torch.tensor(dynamic[index])))
            probabilities = (twins[1 - own[index]] @ features[index]).detach().softmax(dim=0)
            confidence = probabilities.max().item()
            if number < (confidence - 1 / num_classes) * num_classes / (num_classes - 1):
                flips[index] = int(probabilities.argmax())
        optimizer.zero_grad()
        total = sum((sum(of_class) / len(of_class) for of_class in losses.values()), torch.zeros(()))
        total.backward()
        optimizer.step()
        for index, label in flips.items():
            dynamic[index] = label
    return [twin.detach() for twin in twins], dynamic


def read_ids(features: Tensor, labels: Tensor, twins: list[Tensor]) -> list[int]:
    """The class if both are right, else the other class that the two give most probability together."""
    ids = []
    for value, label in zip(features, labels.tolist(), strict=True):
        probabilities = [(twin @ value).softmax(dim=0).tolist() for twin in twins]
        predicted = [row.index(max(row)) for row in probabilities]
        rivals = [(sum(pair), k) for k, pair in enumerate(zip(*probabilities, strict=True)) if k != label]
        ids.append(label if predicted == [label, label] else max(rivals)[1])
    return ids
