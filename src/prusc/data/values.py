"""Values of columns (classes, attributes, splits, bundles): read alike by every reader, and in one order."""

import math
import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

MISSING = ""

# A code such as 007 is no number, because its zeros mean something.
_NUMBER = re.compile(r"[+-]?(0|[1-9]\d*)(\.\d*)?([eE][+-]?\d+)?")
_DIGITS = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d+)?")
_BOOLEANS = {"true": "True", "false": "False"}
# What programs write into an empty cell. The second list also holds words that may be names, so it only counts among
# numbers and booleans.
_MISSING_WORDS = frozenset(("", "nan", "<na>", "n/a", "#n/a", "null", "nat"))
_MISSING_AMONG_NUMBERS = frozenset(("na", "none", "-", "."))


def read_values(values: Iterable[str]) -> list[str]:
    """Read the cells of one column, in the way of every reader.

    Numbers are written in one form (``1.0``, ``1`` and ``1e0`` are ``1``) if all cells are numbers; so are booleans
    (``TRUE`` is ``True``). What stands for a missing value (nothing, ``nan``, ``null``, and ``NA`` or ``None`` among
    numbers) becomes ``MISSING``. All other cells stay as they are.

    Args:
        values: Text of each cell.

    Returns:
        Value of each cell.
    """
    texts = [text.strip() for text in values]
    texts = [MISSING if text.lower() in _MISSING_WORDS else text for text in texts]
    different = set(texts) - {MISSING}
    plain = {text for text in different if text.lower() not in _MISSING_AMONG_NUMBERS}
    if plain and all(map(_is_number, plain)):
        known = {text: _write_number(text) for text in plain}
    elif plain and all(text.lower() in _BOOLEANS for text in plain):
        known = {text: _BOOLEANS[text.lower()] for text in plain}
    else:
        return texts
    return [known.get(text, MISSING) for text in texts]


def number_values(
    values: Iterable[str], names: Iterable[str] | None = None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Number the different values of a column: numbers in numerical order, other values in alphabetical order.

    Args:
        values: Value of each sample.
        names: All different values in the wanted order; ``None`` sorts those that occur.

    Returns:
        Number of each sample's value, [N], and the values by number.
    """
    values = list(values)
    ordered = sort_values(set(values)) if names is None else tuple(names)
    numbers = {name: number for number, name in enumerate(ordered)}
    return np.array([numbers[value] for value in values], dtype=np.int64), ordered


def sort_values(values: Iterable[str]) -> tuple[str, ...]:
    """Sort texts: numerically if all of them are numbers, else alphabetically."""
    values = list(values)
    are_numbers = all(_DIGITS.fullmatch(value) and math.isfinite(float(value)) for value in values)
    return tuple(sorted(values, key=lambda value: (float(value) if are_numbers else 0.0, value)))


def _is_number(text: str) -> bool:
    return _NUMBER.fullmatch(text) is not None and math.isfinite(float(text))


def _write_number(text: str) -> str:
    if text.removeprefix("-").isdecimal():  # Exact, however many digits there are.
        return str(int(text))
    number = float(text)
    return str(int(number)) if number == int(number) else repr(number)
