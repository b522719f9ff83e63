"""Class removal: learn masks without one class, and see which classes the network forgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor, nn

from prusc.data.table import Split
from prusc.engine.display import describe_with_table
from prusc.engine.feed import Feed
from prusc.engine.runtime import stage_generator
from prusc.errors import DataError
from prusc.masks import BinaryMask
from prusc.stages.evaluation import wilson_interval
from prusc.stages.modularity.functions import (
    Examples,
    FunctionData,
    Part,
    as_function_feed,
    check_samples,
    function_labels,
)
from prusc.stages.modularity.learning import FunctionMasks
from prusc.stages.modularity.prediction import predict_outputs

CONTROL = "all classes"
"""Name of the function of all classes, the control."""

NUM_RESAMPLES = 1000


@dataclass(frozen=True)
class RemovedClass:
    """What the network loses under a mask that was learned without one class.

    A relative drop is ``1 - accuracy under this mask / accuracy under the control's mask``, for the samples of a class.

    Attributes:
        name: Name of the removed class.
        confusion: Number of test samples by class and prediction, under this mask.
        drop: Relative drop of the removed class.
        drop_ci95: 95 % bootstrap interval.
        most_hit: Name of the other class with the largest relative drop.
        other_drop: That drop.
        other_drop_ci95: 95 % bootstrap interval of the largest relative drop of another class.
    """

    name: str
    confusion: tuple[tuple[int, ...], ...]
    drop: float
    drop_ci95: tuple[float, float]
    most_hit: str
    other_drop: float
    other_drop_ci95: tuple[float, float]

    @property
    def ratio(self) -> float | None:
        """Largest drop of another class over that of the removed one; ``None`` if that did not drop."""
        return max(self.other_drop, 0.0) / self.drop if self.drop > 0 else None


@dataclass(frozen=True, eq=False, repr=False)
class ClassRemoval:
    """Class removal for all classes of a network.

    Attributes:
        class_names: One per class.
        before: Number of test samples by class and prediction, under the control's mask.
        removed: One entry per class.
    """

    class_names: tuple[str, ...]
    before: tuple[tuple[int, ...], ...]
    removed: tuple[RemovedClass, ...]

    def __repr__(self) -> str:
        mean = sum(entry.drop for entry in self.removed) / len(self.removed)
        return f"ClassRemoval({len(self.removed)} classes, mean relative drop {mean:.2f})"

    def _repr_html_(self) -> str:
        return describe_with_table(self, self.to_frame())

    def accuracy_before(self, label: int) -> tuple[float, tuple[float, float]]:
        """Return the accuracy of a class under the control's mask, and its 95 % Wilson interval."""
        row = self.before[label]
        return row[label] / sum(row), wilson_interval(row[label], sum(row))

    def accuracy_after(self, label: int) -> tuple[float, tuple[float, float]]:
        """Return the accuracy of a removed class under the mask without it, and its 95 % Wilson interval."""
        row = self.removed[label].confusion[label]
        return row[label] / sum(row), wilson_interval(row[label], sum(row))

    def to_frame(self) -> pd.DataFrame:
        """Return one row per removed class."""
        rows = [
            {
                "class": entry.name,
                "accuracy_before": self.accuracy_before(label)[0],
                "accuracy_after": self.accuracy_after(label)[0],
                "drop": entry.drop,
                "drop_low": entry.drop_ci95[0],
                "drop_high": entry.drop_ci95[1],
                "most_hit": entry.most_hit,
                "other_drop": entry.other_drop,
                "other_drop_low": entry.other_drop_ci95[0],
                "other_drop_high": entry.other_drop_ci95[1],
                "ratio": entry.ratio,
            }
            for label, entry in enumerate(self.removed)
        ]
        return pd.DataFrame(rows)


def removal_name(class_name: str) -> str:
    """Return the name of the function that lacks a class."""
    return f"without {class_name}"


def make_removal_functions(data: Examples | Split | Feed, class_names: Sequence[str]) -> dict[str, FunctionData]:
    """Return the functions of class removal: all classes (the control), then all but one, for each class.

    Args:
        data: Samples of all classes, one output per sample.
        class_names: One per class.

    Raises:
        DataError: If there are fewer than three classes, or a class has no sample.
    """
    if len(class_names) < 3:
        raise DataError(
            f"class removal needs at least 3 classes, found {len(class_names)}; one of two cannot be removed"
        )
    labels = data.split.labels if isinstance(data, Feed) else data.labels
    functions: dict[str, FunctionData] = {CONTROL: data}
    for label, name in enumerate(class_names):
        rest = (labels != label).nonzero()[:, 0]
        if len(rest) == len(labels):
            raise DataError(f"class {name!r} has no samples, so it cannot be removed; leave it out of the class names")
        functions[removal_name(name)] = Part(data, rest)
    return functions


def measure_class_removal(
    model: nn.Module,
    masks: FunctionMasks | Mapping[str, BinaryMask],
    test: FunctionData,
    class_names: Sequence[str],
    *,
    generator: torch.Generator | None = None,
) -> ClassRemoval:
    """Compare the masks without one class with the control's mask, on all classes.

    Args:
        model: Not changed.
        masks: Masks of the functions of `make_removal_functions`.
        test: Samples of all classes that no mask has learned from.
        class_names: One per class.
        generator: Source of the bootstrap; seed 0 if ``None``.

    Returns:
        Confusion matrices and drops.

    Raises:
        DataError: If a class has no test sample.

    References:
        Csordas et al. 2021, arXiv:2010.02066.
    """
    generator = generator or stage_generator(0, "class removal")
    check_samples({"test": test})
    labels = function_labels(as_function_feed(test, model))
    for label, name in enumerate(class_names):
        if not bool((labels == label).any()):
            raise DataError(f"class {name!r} has no test samples, so its drop cannot be measured")
    before = predict_outputs(model, masks[CONTROL], test, name=CONTROL)
    removed = []
    for label, name in enumerate(class_names):
        after = predict_outputs(model, masks[removal_name(name)], test, name=removal_name(name))
        removed.append(_measure_one(before, after, labels, label, class_names, generator))
    return ClassRemoval(
        tuple(class_names), _as_tuples(confusion_matrix(before, labels, len(class_names))), tuple(removed)
    )


def confusion_matrix(
    predictions: Int[Tensor, " samples"], labels: Int[Tensor, " samples"], num_classes: int
) -> Int[Tensor, "classes classes"]:
    """Count the samples by class (row) and prediction (column)."""
    return torch.bincount(labels * num_classes + predictions, minlength=num_classes**2).view(num_classes, num_classes)


def _measure_one(
    before: Tensor, after: Tensor, labels: Tensor, label: int, class_names: Sequence[str], generator: torch.Generator
) -> RemovedClass:
    num_classes = len(class_names)
    # Right before and after, before only, after only, neither: the drops depend on these four counts per class alone.
    kinds = 2 * (before != labels).long() + (after != labels).long()
    counts = torch.bincount(labels * 4 + kinds, minlength=4 * num_classes).view(1, num_classes, 4).double()
    drops = _relative_drops(counts)[0]
    others = [index for index in range(num_classes) if index != label]
    most_hit = others[int(drops[others].argmax())]
    resampled = _relative_drops(_resample(counts[0], generator))
    low, high = torch.quantile(resampled[:, label], torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    worst = resampled[:, others].amax(1)
    other_low, other_high = torch.quantile(worst, torch.tensor([0.025, 0.975], dtype=torch.double)).tolist()
    return RemovedClass(
        name=class_names[label],
        confusion=_as_tuples(confusion_matrix(after, labels, num_classes)),
        drop=float(drops[label]),
        drop_ci95=(low, high),
        most_hit=class_names[most_hit],
        other_drop=float(drops[most_hit]),
        other_drop_ci95=(other_low, other_high),
    )


def _relative_drops(counts: Tensor) -> Tensor:
    """Return the relative drop of each class from the four counts; 0 for a class that was never right."""
    right_before, right_after = counts[..., 0] + counts[..., 1], counts[..., 0] + counts[..., 2]
    return torch.where(right_before > 0, 1 - right_after / right_before.clamp(min=1), 0.0)


def _resample(counts: Tensor, generator: torch.Generator) -> Tensor:
    """Draw the four counts of each class again, as the bootstrap over its samples does."""
    parts = []
    for own in counts:
        size = int(own.sum())
        drawn = torch.multinomial(own, size * NUM_RESAMPLES, replacement=True, generator=generator)
        offsets = torch.arange(NUM_RESAMPLES).repeat_interleave(size) * 4
        parts.append(torch.bincount(drawn + offsets, minlength=4 * NUM_RESAMPLES).view(NUM_RESAMPLES, 4))
    return torch.stack(parts, dim=1).double()


def _as_tuples(matrix: Tensor) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(row) for row in matrix.tolist())
