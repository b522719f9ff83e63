import pytest
import torch
from torch import Tensor

from prusc.errors import ConfigError
from prusc.losses import debiased_contrastive_terms
from tests.networks import generator
from tests.reference.debiased_contrastive import debiased_contrastive_loss


def random_batch(seed: int, num_samples: int = 12) -> tuple[Tensor, Tensor, Tensor]:
    source = generator(seed)
    representations = torch.randn(num_samples, 5, generator=source) * 10 ** torch.randn(1, generator=source)
    labels = torch.randint(0, 3, (num_samples,), generator=source)
    return representations, labels, torch.rand(num_samples, generator=source) < 0.15 * (1 + seed % 4)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("seed", range(8))
def test_it_equals_its_slow_twin(seed: int, temperature: float) -> None:
    batch = random_batch(seed)
    terms = debiased_contrastive_terms(*batch, temperature=temperature)
    lists = (batch[0].double().tolist(), batch[1].tolist(), batch[2].tolist())
    expected, num_without = debiased_contrastive_loss(*lists, temperature)
    assert terms.loss.item() == pytest.approx(expected, rel=1e-4, abs=1e-5)
    assert terms.num_without_positives.item() == num_without


def test_the_gradient_is_the_slope() -> None:
    representations, labels, is_conflicting = random_batch(3, num_samples=8)
    representations = (representations / representations.norm(dim=1, keepdim=True)).requires_grad_()
    debiased_contrastive_terms(representations, labels, is_conflicting, temperature=0.5).loss.backward()
    assert representations.grad is not None
    assert representations.grad.abs().max() > 0.01
    step = 1e-5
    for index in range(representations.numel()):
        sides = []
        for sign in (1, -1):
            moved = representations.detach().double()
            moved.view(-1)[index] += sign * step
            sides.append(debiased_contrastive_loss(moved.tolist(), labels.tolist(), is_conflicting.tolist(), 0.5)[0])
        slope = (sides[0] - sides[1]) / (2 * step)
        assert representations.grad.view(-1)[index].item() == pytest.approx(slope, rel=1e-3, abs=1e-5)


def test_bias_aligned_samples_of_one_class_are_no_positives_of_each_other() -> None:
    representations, labels = torch.eye(3).requires_grad_(), torch.zeros(3, dtype=torch.long)
    nothing = debiased_contrastive_terms(representations, labels, torch.zeros(3, dtype=torch.bool))
    assert (nothing.loss.item(), nothing.num_without_positives.item()) == (0, 3)
    nothing.loss.backward()
    one = debiased_contrastive_terms(representations, labels, torch.tensor([True, False, False]))
    # The conflicting one is everybody's positive, and everybody is its.
    assert one.num_without_positives == 0
    assert one.loss.item() == pytest.approx(torch.tensor(2.0).log().item(), rel=1e-5)


def test_a_temperature_has_to_be_positive() -> None:
    with pytest.raises(ConfigError, match="greater than 0, found 0"):
        debiased_contrastive_terms(*random_batch(0), temperature=0.0)
