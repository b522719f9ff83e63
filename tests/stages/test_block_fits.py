"""Logistic regression block by block is that of scikit-learn, and its gradient is the slope of its objective."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import prusc.data.rows
from prusc.data.rows import RowWriter
from prusc.errors import DataError
from prusc.stages import block_fits, heads
from prusc.stages.block_fits import _Problem
from prusc.stages.heads import fit_head, fit_heads
from tests.networks import generator


def samples(num_classes: int, num: int = 600) -> tuple[Tensor, Tensor, Tensor]:
    """Representations far from 0 with a constant unit, and weights of three heads: two miss a class or samples."""
    source = generator(num_classes)
    labels = torch.arange(num) % num_classes
    values = 2 * torch.randn(num, 6, generator=source) + 30 * torch.rand(6, generator=source)
    values[:, :num_classes] += 1.5 * F.one_hot(labels, num_classes)
    values[:, 5] = 7.0
    weights = torch.rand(3, num, generator=source, dtype=torch.float64)
    weights[1, : num // 6] = 0
    if num_classes > 2:
        weights[2, labels == num_classes - 1] = 0
    return values, labels, weights


@pytest.fixture
def by_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heads, "HELD_VALUES", 0)
    monkeypatch.setattr(prusc.data.rows, "BLOCK_VALUES", 500)
    monkeypatch.setattr(block_fits, "_FIRST_VALUES", 900)


@pytest.mark.parametrize("l2", [1.0, 0.1, 0.001])
@pytest.mark.parametrize("num_classes", [2, 3, 4])
def test_heads_are_those_of_scikit_learn(request: pytest.FixtureRequest, num_classes: int, l2: float) -> None:
    values, labels, weights = samples(num_classes)
    expected = [fit_head(values, labels, own, l2=l2, num_classes=num_classes) for own in weights]
    request.getfixturevalue("by_blocks")
    writer = RowWriter(*values.shape)
    writer.write(0, values)
    for rows in (values, writer.finish()):
        found = fit_heads(rows, labels, weights, l2=l2, num_classes=num_classes)
        for head, wanted in zip(found, expected, strict=True):
            probabilities, those = (one.logits(values).softmax(dim=1) for one in (head, wanted))
            torch.testing.assert_close(probabilities, those, rtol=0, atol=3e-3)
            assert head.weight[:, 5].abs().max() == 0, "a constant unit has no weight"
    alone = fit_head(values, labels, weights[0], l2=l2, num_classes=num_classes, has_bias=False)
    assert alone.bias.abs().max() == 0


@pytest.mark.usefixtures("by_blocks")
def test_one_class_is_refused() -> None:
    values, labels, weights = samples(2)
    weights[1, labels == 1] = 0
    with pytest.raises(DataError, match="at least two classes, found 1"):
        fit_heads(values, labels, weights)


def test_the_objective_is_the_sum_over_heads_and_the_gradient_its_slope() -> None:
    values, labels, weights = samples(3, num=60)
    values, shares = values[:, :4], weights / weights.sum(dim=1, keepdim=True)

    def blocks() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for part in torch.arange(60).split(17):
            yield values[part], labels[part], shares[:, part]

    problem = _Problem(blocks, values.double().mean(dim=0), 3, 0.3)
    theta = torch.randn(3, 3, 5, generator=generator(1), dtype=torch.float64)
    theta[2, 2] = 0  # The third head has no sample of the third class.
    found, gradient = problem.evaluate(theta)

    def slow(theta: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for head in range(3):
            own = shares[head]
            mean = own @ values.double()
            std = (own @ (values.double() - mean).square()).sqrt()
            classes = [0, 1] if head == 2 else [0, 1, 2]
            logits = ((values.double() - mean) / std) @ theta[head, classes, :4].T + theta[head, classes, 4]
            used = own > 0
            losses = F.cross_entropy(logits[used], labels[used], reduction="none")
            l2 = 0.6 if head == 2 else 0.3
            total = total + (own[used] * losses).sum() + l2 / 2 * theta[head, classes, :4].square().sum()
        return total

    exact = theta.clone().requires_grad_()
    expected = slow(exact)
    (slope,) = torch.autograd.grad(expected, exact)
    assert found == pytest.approx(expected.item(), rel=1e-5)
    torch.testing.assert_close(gradient, slope, rtol=1e-4, atol=1e-5)
