import pytest
import torch
from torch.nn import functional as F

from prusc.errors import ConfigError
from prusc.losses import generalized_cross_entropy
from tests.networks import generator
from tests.reference import generalized_cross_entropy as reference


@pytest.mark.parametrize("q", [0.1, 0.7, 1.0])
def test_it_equals_its_slow_twin(q: float) -> None:
    logits, labels = 3 * torch.randn(20, 4, generator=generator()), torch.arange(20) % 4
    expected = [
        reference.generalized_cross_entropy(row, label, q)
        for row, label in zip(logits.double().tolist(), labels.tolist(), strict=True)
    ]
    found = generalized_cross_entropy(logits, labels, q=q)
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-6, rtol=1e-5)


def test_its_gradient_is_that_of_the_cross_entropy_times_a_power_of_the_probability() -> None:
    logits, labels = torch.randn(6, 3, generator=generator(), requires_grad=True), torch.arange(6) % 3
    own = torch.autograd.grad(generalized_cross_entropy(logits, labels, q=0.7).sum(), logits)[0]
    plain = torch.autograd.grad(F.cross_entropy(logits, labels, reduction="sum"), logits)[0]
    probability = logits.detach().softmax(1).gather(1, labels[:, None])
    torch.testing.assert_close(own, plain * probability**0.7)


def test_a_hopeless_sample_has_a_finite_loss_and_no_gradient() -> None:
    logits = torch.tensor([[200.0, -200.0]], requires_grad=True)
    loss = generalized_cross_entropy(logits, torch.tensor([1])).sum()
    loss.backward()
    assert loss.item() == pytest.approx(1 / 0.7)
    assert logits.grad is not None
    assert torch.equal(logits.grad, torch.zeros(1, 2))


@pytest.mark.parametrize("q", [0.0, 1.5])
def test_q_has_a_range(q: float) -> None:
    with pytest.raises(ConfigError, match=rf"q must be in \(0, 1\], found {q}"):
        generalized_cross_entropy(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), q=q)
