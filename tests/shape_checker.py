"""The checker of types and shapes, made for each function of prusc when it is called first.

Nothing is checked less: a function that is never called has nothing to check. To make them all while prusc is
imported would take each worker seconds.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from beartype import BeartypeConf, beartype
from jaxtyping import config

# An int may stand for a float, as for mypy.
_CHECK = beartype(conf=BeartypeConf(is_pep484_tower=True))


def check_calls(function: Callable[..., Any]) -> Callable[..., Any]:
    """Decorate a function, for jaxtyping: its arguments and what it returns are checked at each call."""
    checked: Callable[..., Any] | None = None

    def check(*args: Any, **kwargs: Any) -> Any:
        nonlocal checked
        if checked is None:
            checked = _CHECK(function)
        return checked(*args, **kwargs)

    return check


@contextmanager
def unchecked() -> Iterator[None]:
    """Check nothing, where the same functions are called for thousands of real files and other tests check them."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)
