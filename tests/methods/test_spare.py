import pytest
import torch

from prusc.methods.class_clusters import cluster_each_class
from prusc.methods.spare import sampling_weights
from tests.networks import generator
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


def test_each_class_is_divided_into_the_clusters_that_stand_apart() -> None:
    source = generator(3)
    # Class 0 has 3 clumps, class 1 has 2, class 3 is one point; class 2 is absent.
    clumps = torch.tensor([0] * 40 + [1] * 10 + [2] * 10 + [3] * 30 + [4] * 5 + [5] * 6)
    labels = torch.tensor([0] * 60 + [1] * 35 + [3] * 6)
    centres = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [0.0, 0.0], [9.0, 9.0], [5.0, 5.0]])
    values = centres[clumps] + 0.1 * torch.randn(101, 2, generator=source) * (clumps < 5)[:, None]
    order = torch.randperm(101, generator=source)
    clumps, labels, values = clumps[order], labels[order], values[order]
    found = cluster_each_class(
        values, labels, num_classes=4, max_clusters=6, silhouette_samples=50, generator=generator()
    )
    assert found.num_clusters == 6
    pairs = torch.stack([clumps, found.cluster_ids], dim=1).unique(dim=0)
    assert sorted(pairs[:, 0].tolist()) == sorted(pairs[:, 1].tolist()) == list(range(6))
    assert (found.silhouettes[:2] > 0.9).all()
    assert found.silhouettes[2:].tolist() == [0, 0]


def test_the_generator_decides_and_one_cluster_leaves_the_classes_whole() -> None:
    values = torch.randn(60, 4, generator=generator(1))
    labels = torch.arange(60) % 3

    def cluster(max_clusters: int) -> torch.Tensor:
        return cluster_each_class(
            values, labels, num_classes=3, max_clusters=max_clusters, silhouette_samples=99, generator=generator(7)
        ).cluster_ids

    assert torch.equal(cluster(5), cluster(5))
    assert torch.equal(cluster(1), labels)
