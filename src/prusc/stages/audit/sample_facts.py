"""Known facts of samples, such as columns of their table and the size of their file, as features to compare."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from prusc.stages.audit.image_features import Feature

# A column with more values than this, such as a name, is compared by none of them unless it holds numbers.
_MAX_VALUES = 30
# A rarer value describes too few samples to be what many have in common.
_FEWEST_SAMPLES = 5


def encode_facts(
    columns: Mapping[str, Sequence[str]], num_samples: int
) -> tuple[Float[Tensor, "samples features"], tuple[Feature, ...]]:
    """Turn columns into features: one per column of numbers, and one per value of any other column.

    A missing number gets the median of its column, and a feature of its own says which are missing. Columns that do not
    vary or whose values are nearly all different are left out.

    Args:
        columns: The text of each sample by column; an empty text is a missing value.
        num_samples: Number of samples.

    Returns:
        The features, and what each is.
    """
    features: list[Tensor] = []
    described: list[Feature] = []
    for name, texts in columns.items():
        for values, feature in _encode(name, list(texts)):
            if bool((values != values[0]).any()):
                features.append(values)
                described.append(feature)
    stacked = torch.stack(features, dim=1) if features else torch.zeros(num_samples, 0, dtype=torch.float64)
    return stacked, tuple(described)


def _encode(name: str, texts: list[str]) -> list[tuple[Tensor, Feature]]:
    numbers = [_to_number(text) for text in texts]
    missing = [text == "" for text in texts]
    counts = {text: texts.count(text) for text in dict.fromkeys(texts)} if len(set(texts)) <= _MAX_VALUES else {}
    if all(number is not None for number, is_missing in zip(numbers, missing, strict=True) if not is_missing):
        known = torch.tensor([number for number in numbers if number is not None], dtype=torch.float64)
        # Two values are as well a yes and a no, which the words for values suit better.
        if len(known.unique()) > 2:
            median = known.median().item()
            filled = torch.tensor([median if number is None else number for number in numbers], dtype=torch.float64)
            found = [(filled, Feature(f"{name}", name, "higher", "lower", f"of {name}"))]
            return found + ([_indicate(name, "", texts)] if sum(missing) >= _FEWEST_SAMPLES else [])
    return [_indicate(name, text, texts) for text, count in counts.items() if count >= _FEWEST_SAMPLES]


def _indicate(name: str, wanted: str, texts: Sequence[str]) -> tuple[Tensor, Feature]:
    values = torch.tensor([text == wanted for text in texts], dtype=torch.float64)
    place = f"{name} is {wanted}" if wanted else f"{name} is missing"
    return values, Feature(f"{name}={wanted}", place, "more often", "less often", "of the samples")


def _to_number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None
