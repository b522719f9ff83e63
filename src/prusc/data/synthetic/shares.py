"""Values of the spurious attribute, in exact shares of each class."""

import numpy as np
from numpy.typing import NDArray

from prusc.errors import ConfigError


def count_values(own: int, num_samples: int, aligned_share: float, num_values: int) -> list[int]:
    """Count how many samples of a class get each value.

    Samples that cannot be divided evenly go to the values that follow the class's own value.

    Args:
        own: Value that agrees with the class.
        num_samples: Number of samples of the class.
        aligned_share: Share of the samples that get their own value, rounded to whole samples.
        num_values: Number of values; at least 2.

    Returns:
        One count per value. The counts of the values other than `own` differ by at most one.
    """
    counts = [0] * num_values
    counts[own] = round(aligned_share * num_samples)
    share, left_over = divmod(num_samples - counts[own], num_values - 1)
    for step in range(1, num_values):
        counts[(own + step) % num_values] = share + (step <= left_over)
    return counts


def draw_attributes(
    labels: NDArray[np.int64], num_values: int, aligned_share: float, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw an attribute for each sample. Value `c` agrees with class `c`, and the shares are exact in each class.

    Args:
        labels: Class of each sample, [N].
        num_values: Number of values, at least the number of classes.
        aligned_share: Share of each class that gets the value that agrees with it. ``1 / num_values`` makes attribute
            and class independent.
        rng: Source of the randomness.

    Returns:
        Attribute of each sample, [N].
    """
    attributes = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels).tolist():
        rows = rng.permutation(np.flatnonzero(labels == label))
        counts = count_values(label, len(rows), aligned_share, num_values)
        attributes[rows] = np.repeat(np.arange(num_values), counts)
    return attributes


def flip_share(
    values: NDArray[np.int64], share: float, within: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Turn 0 into 1 and 1 into 0 for an exact (rounded) share of the samples of each value of `within`.

    Args:
        values: 0 or 1 for each sample, [N].
        share: Share of the samples that are flipped, in ``[0, 1]``.
        within: Number of each sample's part, [N]; the share holds in each part.
        rng: Source of the randomness.

    Returns:
        The new values, [N].
    """
    turned = values.copy()
    for part in np.unique(within).tolist():
        rows = rng.permutation(np.flatnonzero(within == part))
        rows = rows[: round(share * len(rows))]
        turned[rows] = 1 - turned[rows]
    return turned


def check_share(name: str, share: float, most: float, meaning: str) -> None:
    """Check that a share is in ``[0, most]``.

    Args:
        name: Name of the option.
        share: Value of the option.
        most: Largest share.
        meaning: Meaning of the largest share, for the error.

    Raises:
        ConfigError: If it is not.
    """
    if not 0 <= share <= most:
        raise ConfigError(f"{name} is {share}; expected a share from 0 to {most:g} ({meaning})")


def check_conflicts(labels: NDArray[np.int64], conflict_share: float) -> None:
    """Check that a share of bias-conflicting training samples is not rounded to none in some class.

    Args:
        labels: Class of each training sample, [N].
        conflict_share: Share of bias-conflicting samples; 0 is allowed.

    Raises:
        ConfigError: If the smallest class gets none; the message says how to get some.
    """
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    if conflict_share > 0 and smallest - round((1 - conflict_share) * smallest) == 0:
        raise ConfigError(
            f"a share of {conflict_share:g} of the {smallest} training images of the smallest class rounds to no "
            "image; expected at least one that contradicts the attribute: use more images (num_train) or a larger share"
        )
