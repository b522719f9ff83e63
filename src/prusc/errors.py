"""Errors that prusc raises on purpose. They share a base class, so that one ``except`` catches them all."""

import difflib
from collections.abc import Iterable


class PruscError(Exception):
    """An error that the user can fix. The message states what was found, what was expected and what to do."""


class ConfigError(PruscError, ValueError):
    """A setting is unknown, out of range or conflicts with another one."""


class DataError(PruscError, ValueError):
    """Images, tables, labels or splits are missing, damaged or inconsistent."""


class ModelError(PruscError, ValueError):
    """A network cannot be built, its weights do not fit or its head cannot be found."""


class TrainingError(PruscError, RuntimeError):
    """An optimisation failed, for example because the loss is not a number."""


class RunFolderError(PruscError, OSError):
    """A run folder cannot be read, written or continued."""


def nearest_names(name: str, known: Iterable[str], *, num_names: int = 3) -> str:
    """Suggest known names that look like an unknown one.

    Args:
        name: The unknown name.
        known: All known names.
        num_names: Largest number of suggestions.

    Returns:
        ``"; did you mean A or B?"``, to append to a message; an empty string if no known name looks like it.
    """
    matches = difflib.get_close_matches(name, list(known), n=num_names, cutoff=0.5)
    return f"; did you mean {' or '.join(matches)}?" if matches else ""
