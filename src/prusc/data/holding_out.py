"""The choice of held-out samples: a share of each class, by whole bundles."""

import numpy as np
from numpy.typing import NDArray


def hold_out(
    labels: NDArray[np.int64], bundles: NDArray[np.int64], share: float, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """Choose a share of each class at random, by whole bundles.

    A bundle belongs to the class of most of its samples. If a class has several bundles, at least one is chosen and
    at least one is left.

    Args:
        labels: Class of each sample, [N].
        bundles: Bundle of each sample, [N]; samples with the same number stay together.
        share: Share of the samples, in (0, 1).
        rng: Source of the randomness.

    Returns:
        Whether each sample is chosen, [N].
    """
    names, members, sizes = np.unique(bundles, return_inverse=True, return_counts=True)
    if len(names) == len(labels):
        strata = np.empty_like(labels)
        strata[members] = labels
    else:
        counts = np.zeros((len(names), int(labels.max()) + 1), dtype=np.int64)
        np.add.at(counts, (members, labels), 1)
        strata = counts.argmax(axis=1)
    chosen = np.zeros(len(names), dtype=np.bool_)
    for stratum in np.unique(strata):
        order = rng.permutation(np.flatnonzero(strata == stratum))
        reached = sizes[order].cumsum()
        # The number of bundles whose total size is nearest to the share.
        number = int(np.abs(np.concatenate([[0], reached]) - share * reached[-1]).argmin())
        if len(order) > 1:
            number = min(max(number, 1), len(order) - 1)
        chosen[order[:number]] = True
    return chosen[members]
