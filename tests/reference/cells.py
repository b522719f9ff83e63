"""Slow, obvious twin of prusc.debiasing_set: count and divide, one sample at a time."""

from collections import Counter
from collections.abc import Hashable, Sequence


def draw_weights(
    labels: Sequence[int],
    cluster_ids: Sequence[Hashable],
    cell_exponent: float,
    min_cell_size: int,
) -> list[float]:
    """Return the probability of each sample in one draw."""
    cells = list(zip(labels, cluster_ids, strict=True))
    size = Counter(cells)
    used = {cell for cell in size if size[cell] >= min_cell_size}
    classes = {label for label, _ in used}
    weights = []
    for cell in cells:
        if cell not in used:
            weights.append(0.0)
            continue
        of_its_class = sum(size[other] ** cell_exponent for other in used if other[0] == cell[0])
        share_in_class = size[cell] ** cell_exponent / of_its_class
        weights.append(share_in_class / len(classes) / size[cell])
    return weights
