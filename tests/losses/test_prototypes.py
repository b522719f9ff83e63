import pytest
import torch

from prusc.losses import prototype_similarity
from tests.networks import generator
from tests.reference import methods as reference


@pytest.mark.parametrize("seed", range(4))
def test_it_equals_its_slow_twin(seed: int) -> None:
    source = generator(seed)
    prototypes = torch.randn(3, 5, generator=source)
    others = torch.randn(1 + seed, 3, 5, generator=source)
    expected = reference.prototype_similarity(prototypes.tolist(), others.tolist())
    assert prototype_similarity(prototypes, others).item() == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_the_gradient_is_the_slope() -> None:
    source = generator(2)
    prototypes = torch.randn(2, 4, generator=source, dtype=torch.float64, requires_grad=True)
    others = torch.randn(3, 2, 4, generator=source, dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda p: prototype_similarity(p, others), prototypes)
