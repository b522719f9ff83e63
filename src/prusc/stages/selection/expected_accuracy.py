"""How often a network should be right in a cell, by what the cell's cluster does to the other classes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def expected_accuracies(
    logits: Float[Tensor, "samples classes"], labels: Int[Tensor, " samples"], cluster_ids: Int[Tensor, " samples"]
) -> Float[Tensor, " samples"]:
    """Say how often a network should be right in each sample's cell (class x cluster), without looking at the cell.

    The cell that contradicts a shortcut is small, and its accuracy says more about the handful of samples in it than
    about the network. But what its cluster does to a network shows on the other classes, which have many samples there:
    it moves their logits by so much, in the mean, against samples of the same class in other clusters. The samples of
    the cell's class that lie in other clusters, moved by as much, stand in for the cell. A network without the shortcut
    is not moved. Where the shift differs between the classes, as for samples that were learned by heart, the
    expectation is wrong; it is a prior, which the cell's own samples overrule once there are enough of them.

    Args:
        logits: Of the network.
        labels: Class of each sample.
        cluster_ids: Cluster of each sample.

    Returns:
        For each sample the expected accuracy of its cell, in [0, 1]. Where a class lies in one cluster alone, or no
        other class lies both in the cluster and outside, it is the accuracy of the class.
    """
    values = logits.double()
    right = (logits.argmax(dim=1) == labels).double()
    expected = torch.empty(len(labels), dtype=torch.float64)
    of_class = {int(y): labels == y for y in labels.unique()}
    for cluster in cluster_ids.unique():
        here = cluster_ids == cluster
        shifts = {
            label: values[own & here].mean(dim=0) - values[own & ~here].mean(dim=0)
            for label, own in of_class.items()
            if bool((own & here).any()) and bool((own & ~here).any())
        }
        for label, own in of_class.items():
            others = [shift for other, shift in shifts.items() if other != label]
            stand_ins = own & ~here
            if others and bool(stand_ins.any()):
                moved = values[stand_ins] + torch.stack(others).mean(dim=0)
                accuracy = (moved.argmax(dim=1) == label).double().mean()
            else:
                accuracy = right[own].mean()
            expected[own & here] = accuracy
    return expected
