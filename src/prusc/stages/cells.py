"""Stage 3: cells (class x pseudo-attribute) of the samples of one split."""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from prusc.data.table import Data
from prusc.errors import DataError
from prusc.stages.pseudo_attributes.attribute import PseudoAttribute


@dataclass(frozen=True, eq=False, repr=False)
class Cells:
    """Class and pseudo-attribute of each sample; a *cell* (class x pseudo-attribute) stands in for a group.

    Attributes:
        labels: Class of each sample, in ``[0, num_classes)``.
        attribute_ids: Value of the pseudo-attribute of each sample, such as its cluster, in ``[0, num_values)``.
        num_classes: Number of classes; if 0, the highest label + 1.
        num_values: Number of values of the pseudo-attribute; if 0, the highest id + 1.
    """

    labels: Int[Tensor, " samples"]
    attribute_ids: Int[Tensor, " samples"]
    num_classes: int = 0
    num_values: int = 0

    def __post_init__(self) -> None:
        for name, count, ids in (
            ("num_classes", self.num_classes, self.labels),
            ("num_values", self.num_values, self.attribute_ids),
        ):
            if not count:
                object.__setattr__(self, name, int(ids.max()) + 1 if len(ids) else 1)
            bad = (ids < 0) | (ids >= getattr(self, name))
            if bool(bad.any()):
                raise DataError(
                    f"cells: {int(ids[bad][0])} at index {int(bad.nonzero()[0, 0])} is out of range; {name} "
                    f"{getattr(self, name)} allows 0..{getattr(self, name) - 1}"
                )
        if len(self.labels) != len(self.attribute_ids):
            raise DataError(
                f"cells need one label and one pseudo-attribute value per sample; found {len(self.labels)} labels and "
                f"{len(self.attribute_ids)} values"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Cells({len(self)} samples, {self.num_classes} classes x {self.num_values} values)"

    @property
    def ids(self) -> Int[Tensor, " samples"]:
        """Cell of each sample: ``label * num_values + value``."""
        return self.labels * self.num_values + self.attribute_ids

    def subset(self, indices: Int[Tensor, " chosen"]) -> "Cells":
        """Return the cells of a subset of the samples."""
        return replace(self, labels=self.labels[indices], attribute_ids=self.attribute_ids[indices])


def make_cells(attribute: PseudoAttribute, data: Data, split: str) -> Cells:
    """Cross the classes of one split with the pseudo-attribute.

    Args:
        attribute: The pseudo-attribute of the training and the validation split.
        data: Labels of the splits.
        split: ``train`` or ``val``.
    """
    found = attribute.splits[split]
    return Cells(
        data.splits[split].labels,
        found.ids,
        num_classes=data.num_classes,
        num_values=attribute.num_values,
    )


def find_conflicting(cells: Cells) -> Bool[Tensor, " samples"]:
    """Return True for each sample whose class is rarer at its value of the pseudo-attribute than among all samples."""
    counts = _count(cells)
    expected = counts.sum(dim=1, keepdim=True) * counts.sum(dim=0) / max(len(cells), 1)
    # Rounding must not decide for a cell that is exactly as frequent as expected.
    return (counts < expected - 1e-9)[cells.labels, cells.attribute_ids]


def find_main_classes(cells: Cells) -> Int[Tensor, " values"]:
    """Return the class that each value of the pseudo-attribute stands for.

    It is the one that exceeds its share among all samples the most at that value; of equal ones the first.
    """
    counts = _count(cells)
    return (counts / counts.sum(dim=1, keepdim=True).clamp(min=1)).argmax(dim=0)


def _count(cells: Cells) -> Float[Tensor, "classes values"]:
    counts = torch.zeros(cells.num_classes, cells.num_values, dtype=torch.float64)
    ones = torch.ones(len(cells), dtype=torch.float64)
    return counts.index_put_((cells.labels, cells.attribute_ids), ones, accumulate=True)
