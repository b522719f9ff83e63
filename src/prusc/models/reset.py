"""An untrained copy of a trained network, as it would be before training."""

import copy
from collections.abc import Callable

import torch
from torch import nn


def untrained_copy(model: nn.Module, generator: torch.Generator) -> nn.Module | None:
    """Return a copy whose layers have new random weights.

    PyTorch's own layers draw new weights by ``reset_parameters``, and so do other modules with such a method.
    Parameters outside of them, such as the class token of a vision transformer, keep their values.

    Args:
        model: A network; it does not change.
        generator: Source of the weights; the global random state does not change.

    Returns:
        The copy on the same device, with all parameters trainable; ``None`` if less than half of its weights can be
        drawn anew.
    """
    fresh = copy.deepcopy(model).requires_grad_()
    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    drawn: set[int] = set()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        for module in fresh.modules():
            reset = _reset_of(module)
            if reset is not None:
                reset()
                drawn.update(map(id, module.parameters(recurse=False)))
    sizes = {id(parameter): parameter.numel() for parameter in fresh.parameters()}
    return fresh if sum(sizes[key] for key in drawn) * 2 >= sum(sizes.values()) else None


def _reset_of(module: nn.Module) -> Callable[[], object] | None:
    # MultiheadAttention and Transformer name the method with an underscore.
    resets = (getattr(module, name, None) for name in ("reset_parameters", "_reset_parameters"))
    return next((reset for reset in resets if callable(reset)), None)
