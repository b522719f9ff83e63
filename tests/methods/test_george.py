import torch

from prusc.methods.george import divide_clusters
from tests.networks import generator


def clumps(sizes: list[int], centres: list[list[float]]) -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.repeat_interleave(torch.arange(len(sizes)), torch.tensor(sizes))
    return torch.tensor(centres)[ids] + 0.05 * torch.randn(len(ids), 2, generator=generator(2)), ids


def test_a_clump_inside_a_cluster_becomes_a_cluster_of_its_own() -> None:
    # The second and third clump were taken for one cluster; the third is small, but far from the second.
    values, ids = clumps([40, 40, 12], [[0.0, 0.0], [20.0, 0.0], [23.0, 0.0]])
    divided = divide_clusters(
        values, ids.clamp(max=1), num_parts=2, min_size=10, silhouette_sample=100, generator=generator()
    )
    assert divided[ids == 2].unique().numel() == 1
    assert not torch.isin(divided[ids == 2], divided[ids != 2]).any()
    # One clump's halves are set apart worse than the clump was.
    assert divided[ids == 0].unique().numel() == 1


def test_parts_that_are_too_small_stay() -> None:
    values, ids = clumps([40, 40, 12], [[0.0, 0.0], [20.0, 0.0], [23.0, 0.0]])
    divided = divide_clusters(
        values, ids.clamp(max=1), num_parts=2, min_size=50, silhouette_sample=100, generator=generator()
    )
    assert torch.equal(divided, ids.clamp(max=1))


def test_a_class_of_one_cluster_may_be_divided_and_one_point_may_not() -> None:
    values, ids = clumps([40, 20], [[0.0, 0.0], [20.0, 0.0]])
    divided = divide_clusters(
        values, torch.zeros_like(ids), num_parts=2, min_size=10, silhouette_sample=100, generator=generator()
    )
    assert torch.stack([divided, ids], dim=1).unique(dim=0).tolist() in ([[0, 0], [1, 1]], [[0, 1], [1, 0]])
    same = torch.ones(9, 2)
    assert (
        divide_clusters(
            same,
            torch.zeros(9, dtype=torch.long),
            num_parts=5,
            min_size=1,
            silhouette_sample=100,
            generator=generator(),
        ).tolist()
        == [0] * 9
    )


def test_a_sample_is_enough_to_tell_the_parts() -> None:
    values, ids = clumps([400, 400, 120], [[0.0, 0.0], [20.0, 0.0], [23.0, 0.0]])
    divided = divide_clusters(
        values, ids.clamp(max=1), num_parts=2, min_size=10, silhouette_sample=60, generator=generator()
    )
    assert not torch.isin(divided[ids == 2], divided[ids != 2]).any()
