"""Functional modularity, weight by weight and sample by sample."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def overlap(first: Mapping[str, Tensor], second: Mapping[str, Tensor], layer: str | None) -> tuple[float, float]:
    """IoU and subsetness of two masks in one layer, or in all."""
    both = either = num_first = num_second = 0
    for name in first:
        if layer not in (None, name):
            continue
        for a, b in zip(first[name].flatten().tolist(), second[name].flatten().tolist(), strict=True):
            both += a and b
            either += a or b
            num_first += a
            num_second += b
    smaller = min(num_first, num_second)
    return both / either if either else 1.0, both / smaller if smaller else 1.0


def shared(masks: Mapping[str, Mapping[str, Tensor]], name: str, layer: str | None, others: Sequence[str]) -> int:
    """How many weights of a mask at least one of the others has too."""
    count = 0
    for key, kept in masks[name].items():
        if layer not in (None, key):
            continue
        for index, bit in enumerate(kept.flatten().tolist()):
            count += bit and any(masks[other][key].flatten()[index] for other in others if other != name)
    return count


def accuracy_with_weights(model: nn.Module, weights: Mapping[str, Tensor], inputs: Tensor, labels: Tensor) -> int:
    """How many samples a copy with other weights gets right in all outputs that count, one sample at a time."""
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.load_state_dict({**before, **weights})
    right = 0
    with torch.no_grad():
        for sample, own in zip(inputs, labels, strict=True):
            predicted = model(sample[None])[0].argmax(-1)
            pairs = zip(predicted.reshape(-1).tolist(), own.reshape(-1).tolist(), strict=True)
            right += all(p == y for p, y in pairs if y != -100)
    model.load_state_dict(before)
    return right


def relative_drop(before: Sequence[int], after: Sequence[int], labels: Sequence[int], label: int) -> float:
    """1 - accuracy after / accuracy before on one class."""
    own = [index for index, value in enumerate(labels) if value == label]
    num_before = sum(before[index] == label for index in own)
    num_after = sum(after[index] == label for index in own)
    return 1 - num_after / num_before if num_before else 0.0


def mask_gradients(
    forward: Callable[[Sequence[Tensor], Tensor], Tensor],
    weights: Sequence[Tensor],
    logits: Sequence[Tensor],
    uniforms: Sequence[Sequence[Tensor]],
    inputs: Tensor,
    labels: Tensor,
    *,
    sparsity: float,
    clip: float,
) -> tuple[float, list[Tensor]]:
    """Cross-entropy and clipped gradients of the mask logits for one batch; ``uniforms`` are those of each slice."""
    leaves = [value.clone().requires_grad_() for value in logits]
    parts = zip(inputs.chunk(len(uniforms)), labels.chunk(len(uniforms)), uniforms, strict=True)
    losses = []
    for part, own, draws in parts:
        masked = []
        for weight, leaf, u in zip(weights, leaves, draws, strict=True):
            soft = torch.sigmoid(leaf + torch.log(u) - torch.log(1 - u))
            hard = (soft >= 0.5).float()
            masked.append(weight * (hard + soft - soft.detach()))
        outputs = forward(masked, part)
        for row, answers in zip(outputs, own, strict=True):
            for scores, answer in zip(row.reshape(-1, row.shape[-1]), answers.reshape(-1), strict=True):
                if answer != -100:
                    losses.append(F.cross_entropy(scores[None], answer[None]))
    cross_entropy = torch.stack(losses).mean()
    total = cross_entropy + sparsity * sum(leaf.sum() for leaf in leaves) / len(inputs)
    total.backward()
    norm = torch.sqrt(sum(leaf.grad.square().sum() for leaf in leaves))
    scale = min(1.0, clip / (float(norm) + 1e-6))
    return cross_entropy.item(), [leaf.grad * scale for leaf in leaves]
