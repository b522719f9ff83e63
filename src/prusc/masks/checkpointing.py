"""Gradient checkpointing, which would compute the second forward pass with other weights than the first."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils import checkpoint as _torch_checkpoint

# What torch.utils.checkpoint.checkpoint looks up each time that it is called, however a network imported it. The last
# two are names of one function in different versions of PyTorch.
_REENTRANT = "CheckpointFunction"
_OTHERS = ("_checkpoint_without_reentrant_generator", "_checkpoint_without_reentrant_generator_impl")


class _Direct:
    """Calls the function, in place of the autograd function that forgets its activations."""

    @staticmethod
    def apply(function: Callable[..., Any], _preserves_random_state: bool, *args: Any) -> Any:
        return function(*args)


def _nothing_around(*_args: Any, **_kwargs: Any) -> Iterator[None]:
    yield


@contextmanager
def no_checkpointing() -> Iterator[None]:
    """Keep all activations inside a ``with`` block, although the network asks PyTorch to compute them again.

    A network with masks has its masked weights only during the forward pass. Whatever the backward pass computed again
    would see the plain weights, and the gradients would be wrong without notice.
    """
    names = [name for name in (_REENTRANT, *_OTHERS) if hasattr(_torch_checkpoint, name)]
    before = {name: getattr(_torch_checkpoint, name) for name in names}
    for name in names:
        setattr(_torch_checkpoint, name, _Direct if name == _REENTRANT else _nothing_around)
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(_torch_checkpoint, name, value)
