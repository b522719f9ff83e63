import math
from typing import Any

import pytest
import torch

from prusc.config.stages import FilledMaskConfig
from prusc.losses import cluster_contrastive_terms
from prusc.masks import MaskedModel
from prusc.stages.mask_step import (
    add_sparsity_gradients,
    cluster_contrast,
    mask_optimizer,
    sparsity_gradient,
    sparsity_term,
)
from tests.networks import ConvNet, generator, randomise
from tests.reference import mask_learning as reference


def config(**settings: Any) -> FilledMaskConfig:
    return FilledMaskConfig(**{"steps": 4, "batch_size": 12, "snapshots": 1, "initial_logit": 0.1, **settings})


@pytest.mark.parametrize("term", ["mean-probability", "sum-of-logits"])
@pytest.mark.parametrize("weight", [0.0, 0.7])
def test_the_gradient_of_the_sparsity_term_equals_that_of_autograd(weight: float, term: str) -> None:
    masked = MaskedModel(randomise(ConvNet()))
    chosen = config(sparsity=weight, sparsity_term=term)
    source = generator(1)
    for logits in masked.mask_logits:
        logits.data = 3 * torch.randn(logits.shape, generator=source)
    slopes = [torch.randn(logits.shape, generator=source) for logits in masked.mask_logits]

    def backward() -> None:
        for logits in masked.mask_logits:
            logits.grad = None
        sum((logits * slope).sum() for logits, slope in zip(masked.mask_logits, slopes, strict=True)).backward()

    with sparsity_gradient(masked, chosen):
        backward()
    twins = {str(i): logits.detach().clone().requires_grad_() for i, logits in enumerate(masked.mask_logits)}
    expected = reference.sparsity_term(twins, chosen)
    assert sparsity_term(masked, chosen).item() == pytest.approx(expected.item(), rel=1e-5)
    (weight * expected).backward()
    for logits, slope, twin in zip(masked.mask_logits, slopes, twins.values(), strict=True):
        assert twin.grad is not None
        torch.testing.assert_close(logits.grad, slope + twin.grad)
        # What a GPU does, in one pass over all layers.
        logits.grad = slope.clone()
    add_sparsity_gradients(list(masked.mask_logits), masked.num_masked, chosen)
    for logits, slope, twin in zip(masked.mask_logits, slopes, twins.values(), strict=True):
        torch.testing.assert_close(logits.grad, slope + twin.grad)
    # Once it is closed, a backward pass is an ordinary one again.
    backward()
    for logits, slope in zip(masked.mask_logits, slopes, strict=True):
        torch.testing.assert_close(logits.grad, slope)


@pytest.mark.parametrize(("term", "expected"), [("mean-probability", 1 / (1 + math.exp(-0.3))), ("sum-of-logits", 0.3)])
def test_the_sparsity_term_of_logits_that_are_all_alike(term: str, expected: float) -> None:
    masked = MaskedModel(randomise(ConvNet()), initial_logit=0.3)
    scale = masked.num_masked if term == "sum-of-logits" else 1
    found = sparsity_term(masked, config(sparsity_term=term)).item()
    assert found == pytest.approx(scale * expected, rel=1e-5)


def test_the_contrast_takes_temperature_and_negatives_from_the_settings() -> None:
    values, ids = torch.randn(12, 5, generator=generator()), torch.arange(12)
    arguments = values, ids % 3, ids % 2
    settings = config(contrastive_temperature=0.5, negatives="cluster")
    expected = cluster_contrastive_terms(*arguments, temperature=0.5, negatives="cluster")
    assert torch.equal(cluster_contrast(*arguments, settings).loss, expected.loss)
    assert not torch.equal(cluster_contrast(*arguments, config()).loss, expected.loss)


def test_the_optimiser_moves_mask_logits_alone() -> None:
    model = randomise(ConvNet())
    masked = MaskedModel(model)
    optimizer = mask_optimizer(masked, config(learning_rate=0.02))
    owned = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    assert {id(parameter) for parameter in owned} == {id(logits) for logits in masked.mask_logits}
    assert optimizer.param_groups[0]["lr"] == 0.02
