import torch

from prusc.methods.class_clusters import cluster_each_class, draw_seed
from tests.networks import generator


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


def test_a_class_with_too_few_distinct_values_is_one_cluster() -> None:
    values = torch.tensor([[0.0], [0.0], [1.0], [1.0], [5.0]])
    found = cluster_each_class(
        values,
        torch.tensor([1, 1, 1, 1, 0]),
        num_classes=2,
        max_clusters=4,
        silhouette_samples=9,
        generator=generator(),
    )
    assert found.cluster_ids.tolist() == [1, 1, 1, 1, 0]
    assert found.num_clusters == 2
    assert found.silhouettes.tolist() == [0, 0]


def test_a_seed_for_scikit_learn_follows_from_the_generator() -> None:
    seeds = [draw_seed(generator(3)) for _ in range(2)]
    assert seeds[0] == seeds[1]
    source = generator(3)
    assert len({draw_seed(source) for _ in range(9)}) == 9
    assert 0 <= seeds[0] < 2**31
