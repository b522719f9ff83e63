import pytest
import torch

from prusc.methods.spare import sampling_weights
from tests.reference import methods as reference

CLUSTERS = torch.tensor([0, 0, 0, 0, 1, 2, 2, 3, 3, 3])
LABELS = torch.tensor([0, 0, 0, 0, 0, 2, 2, 2, 2, 2])


@pytest.mark.parametrize("powers", [(1.0, 1.0, 1.0), (2.0, 1.0, 3.0), (0.0, 0.0, 1.0)])
def test_the_weights_equal_their_slow_twin(powers: tuple[float, ...]) -> None:
    weights = sampling_weights(CLUSTERS, LABELS, torch.tensor(powers))
    expected = reference.spare_weights(CLUSTERS.tolist(), LABELS.tolist(), powers)
    assert weights.tolist() == pytest.approx(expected, rel=1e-5)
    assert weights.sum().item() == pytest.approx(1)


def test_power_1_gives_clusters_and_power_2_gives_small_clusters_the_draws() -> None:
    shares = [
        torch.bincount(CLUSTERS, weights=sampling_weights(CLUSTERS, LABELS, torch.full((3,), power)))
        for power in (1.0, 2.0)
    ]
    assert shares[0].tolist() == pytest.approx([0.25] * 4)
    assert shares[1].tolist() == pytest.approx([0.1, 0.4, 0.3, 0.2])
