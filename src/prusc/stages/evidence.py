"""Label-free evidence that the network relies on a pseudo-attribute: its mistakes on held-out samples that conflict."""

from collections.abc import Mapping, Sequence
from math import erfc, sqrt

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from prusc.stages.cells import Cells, find_conflicting
from prusc.stages.evaluation import accuracy_loss
from prusc.stages.pseudo_attributes.attribute import Evidence


def measure_evidence(source: str, predictions: Int[Tensor, " samples"], cells: Cells) -> Evidence:
    """Measure the evidence for one source.

    Args:
        source: Its name.
        predictions: Predictions of the ERM network for samples that it was not trained on.
        cells: Class and pseudo-attribute of the same samples.

    References:
        Cochran 1954, Biometrics 10, 417-451; Mantel and Haenszel 1959, JNCI 22, 719-748: strata with a common effect.
    """
    right, conflicting = predictions == cells.labels, find_conflicting(cells)
    statistic = conflict_statistic(right, conflicting, cells.labels)
    gap, interval = _measure_gap(right, conflicting, cells.labels)
    p_value = 0.5 * erfc(statistic / sqrt(2))
    return Evidence(source, int(conflicting.sum()), gap, interval, statistic, p_value)


def choose_source(evidence: Mapping[str, Evidence]) -> str:
    """Return the source with the largest statistic; of equal ones the first."""
    return max(evidence, key=lambda name: evidence[name].statistic)


def clear_evidence(evidence: Sequence[Evidence], significance: float) -> tuple[Evidence, ...]:
    """Return the evidence that is significant at a level which all sources share."""
    return tuple(one for one in evidence if one.p_value <= significance / len(evidence))


def describe_evidence(found: Evidence) -> str:
    """Return the evidence in words."""
    if found.gap is None or found.gap_ci95 is None:
        return "no validation sample conflicts with it"
    low, high = (100 * bound for bound in found.gap_ci95)
    return (
        f"the network is {100 * found.gap:.1f} points (95 % CI {low:.1f} to {high:.1f}) worse on the "
        f"{found.num_conflicting} validation samples that conflict with it (p {max(found.p_value, 1e-16):.2g})"
    )


def conflict_statistic(
    right: Bool[Tensor, " samples"], conflicting: Bool[Tensor, " samples"], labels: Int[Tensor, " samples"]
) -> float:
    """Return Cochran's and Mantel-Haenszel's statistic of mistakes on conflicting samples, with classes as strata.

    Args:
        right: Whether each prediction is right.
        conflicting: Whether each sample conflicts with the pseudo-attribute.
        labels: Class of each sample.

    Returns:
        Standard normal if mistakes in each class did not depend on the pseudo-attribute. Positive if the samples that
        conflict have more of them.
    """
    difference = variance = 0.0
    flags = (right | True, right, conflicting, right & conflicting)
    for size, num_right, num_conflicting, num_both in zip(*(_count(labels, flag) for flag in flags), strict=True):
        if size < 2:
            continue
        difference += num_right * num_conflicting / size - num_both
        # The number of right ones among the conflicting has a hypergeometric distribution.
        outcomes = num_right * (size - num_right) * num_conflicting * (size - num_conflicting)
        variance += outcomes / (size**2 * (size - 1))
    return difference / sqrt(variance) if variance > 0 else 0.0


def _count(labels: Tensor, flags: Tensor) -> list[int]:
    """Return the number of flagged samples of each class."""
    counts: list[int] = torch.bincount(labels[flags], minlength=int(labels.max()) + 1).tolist()
    return counts


def _measure_gap(right: Tensor, conflicting: Tensor, labels: Tensor) -> tuple[float | None, tuple[float, float] | None]:
    """Return the gap with its interval; classes count by their number of conflicting samples."""
    num_classes = int(labels.max()) + 1
    counts = torch.stack([torch.bincount(labels[side], minlength=num_classes) for side in (conflicting, ~conflicting)])
    both = (counts > 0).all(dim=0)
    here = conflicting & both[labels]
    if not bool(here.any()):
        return None, None
    return accuracy_loss(right, labels, here, ~conflicting)
