"""Labels that look wrong, told apart from the errors of a shortcut."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from sklearn.decomposition import PCA
from torch import Tensor
from torch.nn import functional as F

from prusc.config import DebiasingSetConfig
from prusc.data.rows import HELD_VALUES, StoredRows, map_blocks
from prusc.errors import DataError
from prusc.stages.cells import Cells
from prusc.stages.cross_fitting import make_folds

ErrorKind = Literal["", "shortcut", "mislabelled", "error"]
"""Kind of a prediction: right, or an error of the shortcut, of the label, or of another kind."""

_NUM_FOLDS = 5
_L2 = 0.01
# More components hardly help a linear head, and the fits of many classes take long with them.
_MAX_COMPONENTS = 128


@dataclass(frozen=True, eq=False)
class LabelCheck:
    """Errors of a network by their kind, and labels that look wrong.

    Attributes:
        kinds: Kind of each sample's prediction, an index into `KINDS`. A label that looks wrong is ``mislabelled``,
            whatever the network predicts.
        suggested: Class that the balanced heads predict for each sample.
        confidence: Probability of that class, by the balanced heads.
    """

    kinds: Int[Tensor, " samples"]
    suggested: Int[Tensor, " samples"]
    confidence: Float[Tensor, " samples"]


KINDS: tuple[ErrorKind, ...] = ("", "shortcut", "mislabelled", "error")


def find_label_issues(
    labels: Int[Tensor, " samples"], probabilities: Float[Tensor, "samples classes"]
) -> Bool[Tensor, " samples"]:
    """Return which labels look wrong, by confident learning.

    A sample counts for a class if its probability reaches the mean probability of that class among the samples with
    this label. The most probable of the classes that it counts for is its likely class. A label looks wrong if the
    likely class is another one; in terms of the paper, if the sample lies off the diagonal of the confident joint.

    Args:
        labels: Given class of each sample.
        probabilities: Predicted for samples that the classifier was not fitted on.

    Returns:
        Whether each label looks wrong.

    References:
        Northcutt et al. 2021, arXiv:1911.00068, section 3.1.
    """
    num_classes = probabilities.shape[1]
    own = F.one_hot(labels, num_classes).to(probabilities.dtype)
    counts = own.sum(dim=0)
    # No sample counts for a class that no label names.
    thresholds = torch.where(counts > 0, (own * probabilities).sum(dim=0) / counts.clamp(min=1), torch.inf)
    counting = torch.where(probabilities >= thresholds - 1e-6, probabilities, -1.0)
    return (counting.amax(dim=1) >= 0) & (counting.argmax(dim=1) != labels)


def check_labels(
    representations: Float[Tensor, "samples dim"] | StoredRows,
    probabilities: Float[Tensor, "samples classes"],
    cells: Cells,
    suspects: Collection[tuple[int, int]],
    *,
    generator: torch.Generator,
) -> LabelCheck | None:
    """Tell labels that look wrong from errors of a shortcut.

    A network that follows a shortcut is confident of the wrong class where the shortcut misleads it, so its confidence
    alone would call these labels wrong. Hence a second opinion: cross-fitted heads on its representations, which see
    every cell equally often, so that the pseudo-attribute says nothing of the class. A label looks wrong only if
    confident learning finds it with both and both predict the same other class.

    Args:
        representations: Of the network, for samples that it was not trained on.
        probabilities: Of the network for the same samples.
        cells: Class and pseudo-attribute of each sample.
        suspects: Pairs of a suspect value and its main class.
        generator: Decides the folds.

    Returns:
        The kinds of the errors; ``None`` if the heads cannot be fitted, because there are too few samples.
    """
    labels, predicted = cells.labels, probabilities.argmax(dim=1)
    fair = fit_balanced(representations, cells, generator=generator)
    if fair is None:
        return None
    suggested = fair.argmax(dim=1)
    is_wrong = predicted != labels
    mislabelled = (
        find_label_issues(labels, probabilities) & find_label_issues(labels, fair) & is_wrong & (suggested == predicted)
    )
    misled = torch.zeros_like(is_wrong)
    for value, main_label in suspects:
        misled |= (cells.attribute_ids == value) & (labels != main_label) & (predicted == main_label)
    kinds = torch.where(is_wrong, KINDS.index("error"), KINDS.index(""))
    kinds[misled] = KINDS.index("shortcut")
    kinds[mislabelled] = KINDS.index("mislabelled")
    return LabelCheck(kinds, suggested, fair.amax(dim=1))


def fit_balanced(
    representations: Float[Tensor, "samples dim"] | StoredRows, cells: Cells, *, generator: torch.Generator
) -> Float[Tensor, "samples classes"] | None:
    """Return probabilities of cross-fitted heads that see every cell of a class equally often.

    Args:
        representations: Of a network, for samples that it was not trained on.
        cells: Class and pseudo-attribute of each sample.
        generator: Decides the folds.

    Returns:
        For each sample the prediction of a head that was fitted without it; ``None`` with too few samples.
    """
    most = min(_MAX_COMPONENTS, len(representations) - 1)
    values = representations
    if representations.shape[1] > most >= 1:
        values = _project(representations, most)
    try:
        folds = make_folds(cells, DebiasingSetConfig(), num_folds=_NUM_FOLDS, generator=generator)
        _, logits = folds.fit(values, num_classes=cells.num_classes, l2=_L2)
    except DataError:
        return None
    return logits.softmax(dim=1)


def _project(representations: Tensor | StoredRows, num_components: int) -> Float[Tensor, "samples components"]:
    """Return the first principal components, in memory; their axes come from a part of very many samples."""
    if len(representations) * representations.shape[1] <= HELD_VALUES:
        found = PCA(num_components, random_state=0).fit_transform(representations[:].double().numpy())
        return torch.from_numpy(found).float()
    chosen = torch.randperm(len(representations), generator=torch.Generator().manual_seed(0))
    fitted = PCA(num_components, random_state=0).fit(
        representations[chosen[: HELD_VALUES // representations.shape[1]].sort().values].double().numpy()
    )
    axes, mean = torch.from_numpy(fitted.components_).float(), torch.from_numpy(fitted.mean_).float()
    return map_blocks(lambda block: (block - mean) @ axes.T, representations)
