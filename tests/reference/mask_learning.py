"""Slow, obvious twin of prusc.mask_learning: the whole objective through autograd, for one batch after the other."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from prusc.config import MaskConfig


def learn_logits(
    model: nn.Module,
    names: tuple[str, ...],
    batches: Iterable[tuple[Tensor, Tensor, Tensor]],
    uniforms: Iterable[dict[str, Tensor]],
    config: MaskConfig,
) -> tuple[dict[str, Tensor], list[list[float]]]:
    """Learn from batches (inputs, labels, cluster ids) with given uniform numbers.

    Returns the mask logits, and for each step cross-entropy, contrastive loss and sparsity term after it.
    """
    parameters = dict(model.named_parameters())
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    logits = {name: torch.full_like(parameters[name], config.initial_logit, requires_grad=True) for name in names}
    optimizer = torch.optim.Adam(list(logits.values()), lr=config.learning_rate)
    losses = []
    for (inputs, labels, cluster_ids), uniform in zip(batches, uniforms, strict=True):
        weights = {}
        for name in names:
            noise = uniform[name].log() - (1 - uniform[name]).log()
            soft = ((logits[name] + noise) / config.mask_temperature).sigmoid()
            hard = (soft >= 0.5).float()
            weights[name] = parameters[name].detach() * (hard - soft.detach() + soft)
        seen: list[Tensor] = []
        handle = model.head.register_forward_pre_hook(lambda _, given, seen=seen: seen.append(given[0]))
        outputs = functional_call(model.train(), weights | buffers, (inputs,))
        handle.remove()
        cross_entropy = -outputs.log_softmax(1)[torch.arange(len(labels)), labels].mean()
        contrastive = contrastive_loss(seen[0], labels, cluster_ids, config)
        sparsity = sparsity_term(logits, config)
        optimizer.zero_grad()
        (cross_entropy + config.beta * contrastive + config.sparsity_weight * sparsity).backward()
        optimizer.step()
        losses.append([cross_entropy.item(), contrastive.item(), sparsity_term(logits, config).item()])
    return {name: value.detach() for name, value in logits.items()}, losses


def sparsity_term(logits: dict[str, Tensor], config: MaskConfig) -> Tensor:
    every = torch.cat([value.flatten() for value in logits.values()])
    return every.sum() if config.sparsity_term == "sum-of-logits" else every.sigmoid().mean()


def contrastive_loss(representations: Tensor, labels: Tensor, cluster_ids: Tensor, config: MaskConfig) -> Tensor:
    losses = []
    for i in range(len(labels)):
        others = [j for j in range(len(labels)) if j != i]
        positives = [j for j in others if labels[j] == labels[i] and cluster_ids[j] != cluster_ids[i]]
        negatives = [
            j
            for j in others
            if cluster_ids[j] == cluster_ids[i] and (config.negatives == "cluster" or labels[j] != labels[i])
        ]
        cosine = torch.cosine_similarity(representations[i], representations, dim=1) / config.contrastive_temperature
        if positives:
            losses.append(cosine[positives + negatives].exp().sum().log() - cosine[positives].mean())
    return torch.stack(losses).mean()
