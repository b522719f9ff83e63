"""The accuracy expected in a cell, from how the cell's cluster shifts the logits of other classes."""

import torch
from jaxtyping import Float, Int
from torch import Tensor


def expected_accuracies(
    logits: Float[Tensor, "samples classes"], labels: Int[Tensor, " samples"], cluster_ids: Int[Tensor, " samples"]
) -> Float[Tensor, " samples"]:
    """Estimate the accuracy in each sample's cell (class x cluster) without using the samples of that cell.

    A cell that contradicts a shortcut is small, so its measured accuracy is noisy. But the other classes have many
    samples in its cluster. The mean shift of their logits, against samples of the same class in other clusters, shows
    the effect of the cluster. We add this shift to the logits of the cell's class in other clusters, and take their
    accuracy. A network without the shortcut shows no shift. The estimate is wrong if the shift differs between classes,
    as for memorised samples. So it serves as a prior, which the cell's own samples outweigh once there are enough.

    Args:
        logits: Logits of the network.
        labels: Class of each sample.
        cluster_ids: Cluster of each sample.

    Returns:
        The expected accuracy of each sample's cell, in [0, 1]. If the class lies in a single cluster, or no other class
        lies both inside and outside the cluster, it is the accuracy of the class.
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
