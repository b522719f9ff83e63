"""Which value of the spurious attribute a sample gets, in exact shares of each class."""

import numpy as np
from numpy.typing import NDArray

from prusc.errors import ConfigError


def count_values(own: int, num_samples: int, aligned_share: float, num_values: int) -> list[int]:
    """Say how many of a class's samples get each value; left-overs go to the values that follow the class's own.

    Args:
        own: The value that agrees with the class.
        num_samples: Samples of the class.
        aligned_share: Share of them that get their own value, rounded to whole samples.
        num_values: How many values there are; at least 2.

    Returns:
        One count a value. The values other than `own` have the same count, or one more.
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
    """Draw an attribute for each sample; value `c` agrees with class `c`, and the shares are exact in each class.

    Args:
        labels: Class of each sample [N].
        num_values: How many values there are, at least as many as classes.
        aligned_share: Share of each class that gets the value that agrees; ``1 / num_values`` makes them independent.
        rng: Decides which samples get which value.

    Returns:
        The attribute of each sample [N].
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
    """Turn 0 into 1 and 1 into 0 for exactly a share (rounded) of the samples of each value of `within`.

    Args:
        values: 0 or 1 for each sample [N].
        share: How many are turned, in ``[0, 1]``.
        within: What the share is counted in, a number for each sample [N].
        rng: Decides which samples are turned.

    Returns:
        The new values [N].
    """
    turned = values.copy()
    for part in np.unique(within).tolist():
        rows = rng.permutation(np.flatnonzero(within == part))
        rows = rows[: round(share * len(rows))]
        turned[rows] = 1 - turned[rows]
    return turned


def check_share(name: str, share: float, most: float, meaning: str) -> None:
    """Refuse a share out of ``[0, most]``.

    Raises:
        ConfigError: With what the largest one means.
    """
    if not 0 <= share <= most:
        raise ConfigError(f"{name} is {share}; expected a share from 0 to {most:g} ({meaning})")


def check_conflicts(labels: NDArray[np.int64], conflict_share: float) -> None:
    """Refuse a share that asks for bias-conflicting training samples and is rounded to none of some class.

    Raises:
        ConfigError: With the smallest class and how to get some.
    """
    smallest = int(np.unique(labels, return_counts=True)[1].min())
    if conflict_share > 0 and smallest - round((1 - conflict_share) * smallest) == 0:
        raise ConfigError(
            f"a share of {conflict_share:g} of the {smallest} training images of the smallest class is no image at "
            "all; expected at least one that contradicts the attribute: take more images (num_train) or a larger share"
        )
