"""Every error that prusc raises on purpose: one base class, so that one ``except`` catches them all."""

import difflib
from collections.abc import Iterable


class PruscError(Exception):
    """Something the user can put right; the message says what was found, what was expected and what to do."""


class ConfigError(PruscError, ValueError):
    """A setting is unknown, out of range or does not go with another one."""


class DataError(PruscError, ValueError):
    """Images, tables, labels or splits are not as they have to be."""


class ModelError(PruscError, ValueError):
    """A network cannot be built, its weights do not fit, or its head cannot be found."""


class TrainingError(PruscError, RuntimeError):
    """An optimisation went wrong, for example to a loss that is not a number."""


class RunFolderError(PruscError, OSError):
    """A run folder cannot be read, written or continued."""


def nearest_names(name: str, known: Iterable[str], *, num_names: int = 3) -> str:
    """Return ``"; did you mean A or B?"`` for the known names that look like ``name``, else an empty string."""
    matches = difflib.get_close_matches(name, list(known), n=num_names, cutoff=0.5)
    return f"; did you mean {' or '.join(matches)}?" if matches else ""
