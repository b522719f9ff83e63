"""One step of mask learning: the losses of a batch, their gradients, and Adam on the mask logits."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int, Shaped
from torch import Tensor
from torch.nn import functional as F

from prusc.config.stages import FilledMaskConfig
from prusc.engine.runtime import Runtime
from prusc.engine.training import check_finite
from prusc.losses import ContrastiveTerms, cluster_contrastive_terms
from prusc.masks import MaskedModel
from prusc.masks.gumbel_sigmoid import row_chunks
from prusc.models.calls import call_model
from prusc.models.head import RepresentationTap


class MaskStepTerms(NamedTuple):
    """Loss terms of one step of mask learning, over the global batch and without gradients.

    Attributes:
        loss: Cross-entropy plus the weighted contrastive loss.
        cross_entropy: In nats.
        contrastive: In nats; 0 if ``beta`` is 0.
        num_without_positives: Number of anchors that the contrastive loss left out.
    """

    loss: Float[Tensor, ""]
    cross_entropy: Float[Tensor, ""]
    contrastive: Float[Tensor, ""]
    num_without_positives: Shaped[Tensor, ""]


def cluster_contrast(
    representations: Float[Tensor, "batch dim"],
    labels: Int[Tensor, " batch"],
    cluster_ids: Int[Tensor, " batch"],
    config: FilledMaskConfig,
) -> ContrastiveTerms:
    """Compute PruSC's contrastive loss with the temperature and negatives of the config."""
    return cluster_contrastive_terms(
        representations,
        labels,
        cluster_ids,
        temperature=config.contrastive_temperature,
        negatives=config.negatives,
    )


Contrast = Callable[[Tensor, Tensor, Tensor, FilledMaskConfig], ContrastiveTerms]


def mask_optimizer(masked: MaskedModel, config: FilledMaskConfig) -> torch.optim.Optimizer:
    """Return Adam on the mask logits.

    Args:
        masked: Its parameters are the mask logits.
        config: Gives the learning rate.
    """
    # Unfused Adam allocates temporaries as large as the masks and takes several times as long.
    fused = all(logits.device.type in ("cpu", "cuda") for logits in masked.mask_logits)
    return torch.optim.Adam(masked.parameters(), lr=config.learning_rate, fused=fused)


def mask_step(
    masked: MaskedModel,
    optimizer: torch.optim.Optimizer,
    tap: RepresentationTap,
    inputs: Any,
    labels: Int[Tensor, " batch"],
    cluster_ids: Int[Tensor, " batch"],
    *,
    config: FilledMaskConfig,
    runtime: Runtime,
    step: int,
    contrast: Contrast = cluster_contrast,
) -> MaskStepTerms:
    """Sample masks, run one batch forward and backward, and update the mask logits.

    Args:
        masked: In training mode; its mask logits are changed.
        optimizer: Of the mask logits.
        tap: On the head of the wrapped network.
        inputs: This process's part of the batch, transformed and on the device.
        labels: Class of each sample.
        cluster_ids: Cluster of each sample.
        config: Settings of mask learning.
        runtime: Device and processes; the contrastive loss spans the parts of all processes.
        step: Number of the step, for error messages.
        contrast: As in `learn_masks`.

    Returns:
        The terms of the loss.

    Raises:
        TrainingError: If the loss is not finite.
    """
    # Before the forward pass, which uses the most memory: the old gradients are freed by then.
    optimizer.zero_grad(set_to_none=True)
    with runtime.autocast():
        logits = call_model(masked, inputs)
        cross_entropy = F.cross_entropy(logits.float(), labels)
    contrastive, num_without = _contrastive(tap.take(), labels, cluster_ids, contrast, config, runtime)
    loss = cross_entropy + config.beta * contrastive
    mean_cross_entropy = runtime.average(cross_entropy)
    mean_loss = mean_cross_entropy + config.beta * contrastive.detach()
    with sparsity_gradient(masked, config):
        loss.backward()
    # Reading the loss waits for a GPU, which has the backward pass to do meanwhile.
    check_finite(mean_loss, step - 1, "mask learning")
    runtime.average_gradients(masked.mask_logits)
    optimizer.step()
    return MaskStepTerms(mean_loss, mean_cross_entropy, contrastive.detach(), num_without)


def sparsity_term(masked: MaskedModel, config: FilledMaskConfig) -> Tensor:
    """Return the sparsity term: the mean keep-probability, or the sum of the mask logits.

    Args:
        masked: The masked network.
        config: ``sparsity_term`` names the term.

    Returns:
        The term, without its weight and without a gradient.
    """
    logits = [value.detach() for value in masked.mask_logits]
    if config.sparsity_term == "sum-of-logits":
        return torch.stack([value.sum() for value in logits]).sum()
    return torch.stack([value.sigmoid().sum() for value in logits]).sum() / masked.num_masked


@contextmanager
def sparsity_gradient(masked: MaskedModel, config: FilledMaskConfig) -> Iterator[None]:
    """By the end of the ``with`` block, add the gradient of ``sparsity * sparsity_term`` to that of the mask logits.

    The gradient has a closed form; through autograd it would need several copies of all masks. On a CPU, ``backward``
    adds it right after each logit's own gradient, while that is in the cache; a separate pass would take three times as
    long. On a GPU, where the number of operations counts, it is added to all layers at once.

    Args:
        masked: The gradients of its mask logits are changed, of those that the loss depends on.
        config: Names the term and its weight.

    Yields:
        Nothing.
    """
    every = list(masked.mask_logits) if config.sparsity_weight else []
    in_cache = [logits for logits in every if logits.device.type == "cpu"]
    add = partial(_add_sparsity_gradient, num_masked=masked.num_masked, config=config)
    hooks = [logits.register_post_accumulate_grad_hook(add) for logits in in_cache]
    try:
        yield
        if len(in_cache) < len(every):
            add_sparsity_gradients([logits for logits in every if logits.grad is not None], masked.num_masked, config)
    finally:
        for hook in hooks:
            hook.remove()


def _add_sparsity_gradient(logits: Tensor, num_masked: int, config: FilledMaskConfig) -> None:
    assert logits.grad is not None, "the hook runs after the gradient is accumulated"
    if config.sparsity_term == "sum-of-logits":
        logits.grad.add_(config.sparsity_weight)
        return
    for rows in row_chunks(logits):
        probability = logits.detach()[rows].sigmoid()
        # p - p * p is the derivative of the sigmoid.
        slope = probability.addcmul_(probability, probability, value=-1)
        logits.grad[rows].add_(slope, alpha=config.sparsity_weight / num_masked)


def add_sparsity_gradients(mask_logits: Sequence[Tensor], num_masked: int, config: FilledMaskConfig) -> None:
    """Add the gradient of the sparsity term to the gradients of several layers, in few operations."""
    grads = [logits.grad for logits in mask_logits if logits.grad is not None]
    if not grads:
        return
    if config.sparsity_term == "sum-of-logits":
        torch._foreach_add_(grads, config.sparsity_weight)
        return
    slopes = torch._foreach_sigmoid([logits.detach() for logits in mask_logits])
    torch._foreach_addcmul_(slopes, slopes, slopes, value=-1)
    torch._foreach_add_(grads, slopes, alpha=config.sparsity_weight / num_masked)


def _contrastive(
    representations: Tensor,
    labels: Tensor,
    cluster_ids: Tensor,
    contrast: Contrast,
    config: FilledMaskConfig,
    runtime: Runtime,
) -> tuple[Tensor, Tensor]:
    """Return the contrastive loss over the pairs of the global batch, and the number of anchors left out."""
    if config.beta == 0:
        return representations.new_zeros((), dtype=torch.float32), torch.zeros((), device=runtime.device)
    terms = contrast(
        runtime.gather(representations.float()), runtime.gather(labels), runtime.gather(cluster_ids), config
    )
    return terms.loss, terms.num_without_positives
