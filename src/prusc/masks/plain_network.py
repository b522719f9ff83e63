"""Networks without wrappers and with plain weights, which masks and training can change."""

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune  # noqa: TID251 -- they are taken off here, not used
from torch.optim.swa_utils import AveragedModel

from prusc.errors import ModelError

_WRAPPERS = (nn.DataParallel, nn.parallel.DistributedDataParallel, AveragedModel)
# The hooks of PyTorch's older utilities, and how each is taken off.
_HOOKS = {"WeightNorm": nn.utils.remove_weight_norm, "SpectralNorm": nn.utils.remove_spectral_norm}


def plain_network(model: nn.Module) -> nn.Module:
    """Copy a network without what others put around it or in place of its weights.

    - ``torch.compile``, ``DataParallel``, ``DistributedDataParallel`` and ``AveragedModel`` are taken off everywhere.
    - Weights behind a parametrisation, behind the older ``weight_norm`` and ``spectral_norm``, or behind a mask of
      ``torch.nn.utils.prune`` become parameters with the value that they have now.

    The copy computes the same as the network does in evaluation mode.

    Args:
        model: Any network; it does not change.

    Returns:
        The copy, with the names of the innermost network.

    Raises:
        ModelError: If the network is a TorchScript module, whose layers cannot be changed.
    """
    inner = unwrap(model)
    if isinstance(inner, torch.jit.ScriptModule):
        raise ModelError(
            "the network is a TorchScript module, whose layers cannot be changed; build the network by its Python "
            "class and load the weights into it: network.load_state_dict(scripted.state_dict())"
        )
    with _without_graph(inner):
        network = copy.deepcopy(inner)
    _unwrap_inside(network)
    for module in network.modules():
        _make_weights_plain(module)
    return network


def unwrap(model: nn.Module) -> nn.Module:
    """Return the network inside ``torch.compile``, ``DataParallel`` and the like."""
    while True:
        if isinstance(getattr(model, "_orig_mod", None), nn.Module):
            model = model._orig_mod  # type: ignore[assignment]
        elif isinstance(model, _WRAPPERS):
            model = model.module
        else:
            return model


def _unwrap_inside(module: nn.Module) -> None:
    for name, child in list(module.named_children()):
        bare = unwrap(child)
        if bare is not child:
            setattr(module, name, bare)
        _unwrap_inside(bare)


def is_plain(model: nn.Module) -> bool:
    """Whether `plain_network` would only copy a network."""
    return all(unwrap(module) is module and not _names_of_other_weights(module) for module in model.modules())


def list_changes(model: nn.Module) -> list[str]:
    """Describe in words what `plain_network` takes off a network."""
    found: dict[str, int] = {}
    for module in model.modules():
        if unwrap(module) is not module:
            found[type(module).__name__] = found.get(type(module).__name__, 0) + 1
        for what in _names_of_other_weights(module).values():
            found[what] = found.get(what, 0) + 1
    return [f"{what} ({number})" for what, number in found.items()]


def _names_of_other_weights(module: nn.Module) -> dict[str, str]:
    """Return the weights that are no parameters but computed from others, and how."""
    found: dict[str, str] = {}
    if parametrize.is_parametrized(module):
        found |= dict.fromkeys(module.parametrizations, "parametrisation")  # type: ignore[arg-type]
    for hook in module._forward_pre_hooks.values():
        kind = type(hook).__name__
        if isinstance(hook, prune.BasePruningMethod):
            found[hook._tensor_name] = "pruned weight"
        elif kind in _HOOKS and hasattr(hook, "name"):
            found[hook.name] = {"WeightNorm": "weight norm", "SpectralNorm": "spectral norm"}[kind]
    return found


def _make_weights_plain(module: nn.Module) -> None:
    with torch.no_grad(), _modes_of_evaluation(module):
        if parametrize.is_parametrized(module):
            _remove_parametrizations(module)
        for name, what in _names_of_other_weights(module).items():
            if what == "pruned weight":
                prune.remove(module, name)
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)
                _HOOKS[{"weight norm": "WeightNorm", "spectral norm": "SpectralNorm"}[what]](module, name)


def _remove_parametrizations(module: nn.Module) -> None:
    """Replace computed weights by parameters.

    PyTorch's own function would change the class of the module, which the copy shares with the user's network.
    """
    lists = module.parametrizations
    values = {name: (getattr(module, name).clone(), any(True for _ in lists[name].parameters())) for name in lists}  # type: ignore[index, union-attr]
    # PyTorch has put a class of its own before that of the layer.
    module.__class__ = type(module).__mro__[1]
    del module._modules["parametrizations"]
    for name, (value, is_parameter) in values.items():
        if is_parameter:
            module.register_parameter(name, nn.Parameter(value))
        else:
            module.register_buffer(name, value)


@contextmanager
def _modes_of_evaluation(module: nn.Module) -> Iterator[None]:
    """Switch a module to evaluation, because spectral norms step their estimate in training mode."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        module.eval()
        yield
    finally:
        for part, mode in modes:
            part.training = mode


@contextmanager
def _without_graph(model: nn.Module) -> Iterator[None]:
    """Detach tensors that modules keep as plain attributes, because PyTorch does not copy parts of a graph."""
    kept: list[tuple[nn.Module, str, Any]] = []
    try:
        for module in model.modules():
            for name, value in list(vars(module).items()):
                if isinstance(value, Tensor) and value.grad_fn is not None:
                    kept.append((module, name, value))
                    vars(module)[name] = value.detach()
        yield
    finally:
        for module, name, value in kept:
            vars(module)[name] = value
