import math

import pytest
import torch
from torch import Tensor

from prusc.errors import ConfigError
from prusc.losses import full_batch_irm_loss, irm_loss, scale_gradients
from tests.networks import generator
from tests.reference import methods as reference


def random_batch(seed: int, num_samples: int = 11) -> tuple[Tensor, Tensor, Tensor]:
    source = generator(seed)
    logits = torch.randn(num_samples, 3, generator=source, dtype=torch.float64) * 2
    memberships = torch.rand(num_samples, 2, generator=source, dtype=torch.float64)
    labels = torch.randint(0, 3, (num_samples,), generator=source)
    return logits, labels, memberships / memberships.sum(dim=1, keepdim=True)


@pytest.mark.parametrize("seed", range(4))
def test_the_slopes_equal_their_slow_twin(seed: int) -> None:
    logits, labels, _ = random_batch(seed)
    expected = [reference.scale_gradient(z, y) for z, y in zip(logits.tolist(), labels.tolist(), strict=True)]
    assert scale_gradients(logits, labels).tolist() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("penalty_weight", [0.0, 0.5, 100.0])
@pytest.mark.parametrize("seed", range(4))
def test_the_loss_equals_its_slow_twin(seed: int, penalty_weight: float) -> None:
    logits, labels, memberships = random_batch(seed)
    expected = reference.irm_loss(logits.tolist(), labels.tolist(), memberships.tolist(), penalty_weight)
    loss = irm_loss(logits, labels, memberships, penalty_weight=penalty_weight)
    assert loss.item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("penalty_weight", [0.0, 0.5, 9100.0])
@pytest.mark.parametrize("seed", range(3))
def test_the_loss_of_whole_environments_equals_its_slow_twin(seed: int, penalty_weight: float) -> None:
    logits, labels, memberships = random_batch(seed)
    probabilities = memberships / memberships.sum(dim=0)
    expected = reference.full_batch_irm_loss(logits.tolist(), labels.tolist(), probabilities.tolist(), penalty_weight)
    loss = full_batch_irm_loss(logits, labels, probabilities, penalty_weight=penalty_weight)
    assert loss.item() == pytest.approx(expected, abs=1e-6)
    assert torch.autograd.gradcheck(
        lambda z: full_batch_irm_loss(z, labels, probabilities, penalty_weight=3.0), logits.requires_grad_()
    )


def test_a_loss_worked_out_by_hand() -> None:
    # Two samples of two classes with logits (1, 0), one right, one wrong, in one environment each.
    probability = math.e / (1 + math.e)
    slopes = [probability - 1, probability]
    risks = [-math.log(probability), -math.log(1 - probability)]
    loss = irm_loss(
        torch.tensor([[1.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1]), torch.tensor([[1.0], [1.0]]), penalty_weight=0.5
    )
    assert loss.item() == pytest.approx(sum(risks) / 2 + 0.5 * slopes[0] * slopes[1], rel=1e-5)


def test_the_gradient_is_the_slope() -> None:
    logits, labels, memberships = random_batch(3)
    assert torch.autograd.gradcheck(
        lambda z: irm_loss(z, labels, memberships, penalty_weight=3.0), logits.requires_grad_()
    )


def test_the_penalty_has_no_bias() -> None:
    # The mean over many random orders of one batch is the mean over pairs of different samples.
    logits, labels, _ = random_batch(5, num_samples=6)
    ones = torch.ones(6, 1, dtype=torch.float64)
    source, losses = generator(1), []
    for _ in range(4000):
        order = torch.randperm(6, generator=source)
        both = [irm_loss(logits[order], labels[order], ones, penalty_weight=weight) for weight in (1.0, 0.0)]
        losses.append((both[0] - both[1]).item())
    slopes = scale_gradients(logits, labels)
    expected = (slopes.sum() ** 2 - slopes.square().sum()) / 30
    assert sum(losses) / len(losses) == pytest.approx(expected.item(), abs=0.05)
    assert abs(expected) > 0.1


def test_an_environment_of_no_weight_has_no_say() -> None:
    logits, labels, _ = random_batch(2)
    alone = torch.tensor([[1.0, 0.0]], dtype=torch.float64).expand(len(labels), 2)
    loss = irm_loss(logits, labels, alone, penalty_weight=0.0)
    # All of both environments' weight is on one: half of twice its risk.
    assert loss.item() == pytest.approx(torch.nn.functional.cross_entropy(logits, labels).item())


def test_one_sample_has_no_second_half_and_no_penalty() -> None:
    logits, labels, memberships = random_batch(4, num_samples=1)
    pair = [irm_loss(logits, labels, memberships, penalty_weight=weight).item() for weight in (0.0, 1.0)]
    assert pair[0] == pair[1]


def test_a_weight_below_0_is_refused() -> None:
    with pytest.raises(ConfigError, match="penalty_weight must be at least 0, found -1"):
        irm_loss(*random_batch(0), penalty_weight=-1.0)
