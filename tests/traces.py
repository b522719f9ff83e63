"""Did a call leave a trace? What a network, and the process, look like before and after."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import nn

# What a recurrent layer itself refreshes before each call.
_REFRESHED = ("_flat_weights", "_flat_weight_refs")


def _look(model: nn.Module) -> dict[str, Any]:
    modules = dict(model.named_modules(remove_duplicate=False))
    return {
        "modes": {name: module.training for name, module in modules.items()},
        "hooks": {
            f"{name}.{kind}": list(getattr(module, kind).items())
            for name, module in modules.items()
            for kind in ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
        },
        # Which objects hang on each module: an added method, a swapped parameter, another activation would show.
        "parts": {
            f"{name}.{key}": (key, id(value))
            for name, module in modules.items()
            for group in (module.__dict__, module._parameters, module._buffers, module._modules)
            for key, value in group.items()
            if key not in _REFRESHED and not isinstance(value, int | float)
        },
        "numbers": {
            f"{name}.{key}": value
            for name, module in modules.items()
            for key, value in module.__dict__.items()
            if isinstance(value, int | float) and key != "training"
        },
        "gradients": {name: (p.requires_grad, p.grad) for name, p in model.named_parameters()},
    }


@contextmanager
def no_trace(model: nn.Module) -> Iterator[None]:
    """Fail if anything about the model or the global states has changed when the block is left."""
    tensors = {name: tensor.clone() for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    looks = _look(model)
    # Not Python's own: beartype, which checks the types in tests, draws from it.
    states = torch.get_rng_state(), np.random.get_state()[1].tolist()  # noqa: NPY002
    environment = dict(os.environ)
    settings = torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()
    yield
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        assert torch.equal(tensor, tensors[name]), f"{name} changed"
    for kind, before in looks.items():
        after = _look(model)[kind]
        assert after == before, f"{kind} changed"
    assert torch.equal(torch.get_rng_state(), states[0]), "torch's random state changed"
    assert np.random.get_state()[1].tolist() == states[1], "NumPy's random state changed"  # noqa: NPY002
    assert dict(os.environ) == environment, "the environment changed"
    assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled(), torch.get_default_dtype()) == settings
