"""A permutation test the long way: one sample at a time, one cluster at a time."""

import torch
from torch import Tensor


def permutation_p_value(
    right: Tensor,
    labels: Tensor,
    cluster_ids: Tensor,
    is_other: Tensor,
    cluster: int,
    num_clusters: int,
    num_permutations: int,
    generator: torch.Generator,
) -> float:
    """Return the share of shuffles, the data among them, whose lowest statistic is as low as the cluster's."""

    def statistic(values: list[bool], which: int) -> float:
        found = expected = variance = 0.0
        for label in sorted(set(labels.tolist())):
            of_class = [v for v, y in zip(values, labels.tolist(), strict=True) if y == label]
            share, size = sum(of_class) / len(of_class), len(of_class)
            inside = [
                v
                for v, y, c, o in zip(values, labels.tolist(), cluster_ids.tolist(), is_other.tolist(), strict=True)
                if y == label and c == which and o
            ]
            found += sum(inside)
            expected += len(inside) * share
            variance += len(inside) * share * (1 - share) * (size - len(inside)) / (size - 1)
        return (found - expected) / variance**0.5 if variance else 0.0

    observed = statistic(right.tolist(), cluster)
    exceeded = 1
    for _ in range(num_permutations):
        values = right.tolist()
        for label in set(labels.tolist()):
            members = (labels == label).nonzero()[:, 0].tolist()
            order = torch.randperm(len(members), generator=generator).tolist()
            shuffled = [values[members[i]] for i in order]
            for place, value in zip(members, shuffled, strict=True):
                values[place] = value
        exceeded += min(statistic(values, c) for c in range(num_clusters)) <= observed + 1e-9
    return exceeded / (1 + num_permutations)
