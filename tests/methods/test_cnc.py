import pytest
import torch

from prusc.methods.cnc import contrast_weights
from tests.networks import generator
from tests.reference import methods as reference


@pytest.mark.parametrize("seed", range(4))
def test_the_weights_equal_their_slow_twin(seed: int) -> None:
    source = generator(seed)
    labels = torch.randint(0, 4, (30,), generator=source)
    wrong = torch.rand(30, generator=source) < 0.2
    weights = contrast_weights(labels, wrong)
    assert weights.tolist() == pytest.approx(reference.contrast_weights(labels.tolist(), wrong.tolist()), rel=1e-5)
    assert weights.sum().item() == pytest.approx(1)


def test_a_class_without_mistakes_keeps_its_share() -> None:
    labels, wrong = torch.tensor([0, 0, 0, 2, 2]), torch.tensor([True, False, False, False, False])
    assert contrast_weights(labels, wrong).tolist() == pytest.approx([0.25, 0.125, 0.125, 0.25, 0.25])
