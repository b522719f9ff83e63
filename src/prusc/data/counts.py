"""How many samples of each group each split has, as a table for notebooks."""

from collections.abc import Mapping, Sequence
from itertools import product

import pandas as pd
from jaxtyping import Int
from torch import Tensor


def count_groups(
    splits: Mapping[str, tuple[Int[Tensor, " samples"], Int[Tensor, "samples attributes"] | None]],
    class_names: Sequence[str],
    attributes: Mapping[str, Sequence[str]],
) -> pd.DataFrame:
    """Count the samples of each class and, where attributes are known, of each combination of their values.

    Args:
        splits: Labels and attributes of each split, by its name.
        class_names: One per class.
        attributes: Names of the values of each attribute, by its name.

    Returns:
        One row per group: ``class``, the attributes, and the number of samples in each split.
    """
    known = attributes if all(values is not None for _, values in splits.values()) else {}
    rows = []
    for label, *values in product(range(len(class_names)), *(range(len(names)) for names in known.values())):
        row: dict[str, object] = {"class": class_names[label]}
        row |= {name: names[value] for (name, names), value in zip(known.items(), values, strict=True)}
        for split, (labels, given) in splits.items():
            inside = labels == label
            if known and given is not None:
                inside &= (given == given.new_tensor(values)).all(dim=1)
            row[split] = int(inside.sum())
        rows.append(row)
    return pd.DataFrame(rows)
