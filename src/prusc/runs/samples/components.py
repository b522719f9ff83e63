"""Principal components of representations, for the map of the samples."""

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from torch import Tensor

from prusc.losses.unit_rows import unit_rows

_NUM_COMPONENTS = 50


def find_components(
    values: Float[Tensor, "samples dim"],
) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
    """Return the first principal components of unit-length representations, and their shares of the variance.

    The first two make a map; t-SNE starts from all of them.

    Args:
        values: Representations at any scale; they are scaled to unit length.

    Returns:
        Coordinates [samples, components] with 2 to 50 components, and the share of the variance of each component.
    """
    unit = unit_rows(values.double()).numpy()
    num_components = min(_NUM_COMPONENTS, *unit.shape)
    with np.errstate(invalid="ignore"):  # If all samples are equal, the variance is 0 and its shares are NaN.
        found = PCA(num_components, random_state=0).fit(unit)
    missing = max(0, 2 - num_components)
    coordinates = np.pad(found.transform(unit), ((0, 0), (0, missing)))
    return coordinates.astype(np.float32), np.pad(np.nan_to_num(found.explained_variance_ratio_), (0, missing))
