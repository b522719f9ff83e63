"""Find the channels of a network that can be removed, and those that have to stay."""

import copy
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.instancenorm import _InstanceNorm

from prusc.errors import ConfigError, ModelError
from prusc.masks import ChannelGroup, ChannelMap, module_modes
from prusc.models.calls import call_model
from prusc.models.shrinking import shrink

# Outputs of two networks that differ by the order of additions only.
TOLERANCE = 1e-3


@dataclass(frozen=True, eq=False)
class Channels:
    """The channels of a network.

    Attributes:
        groups: Groups of channels that can be removed.
        whole: For each layer whose output channels have to stay, the reason.
    """

    groups: tuple[ChannelGroup, ...]
    whole: Mapping[str, str]


def find_channels(
    model: nn.Module,
    sample_inputs: Any,
    *,
    head_name: str,
    include: Sequence[str] = ("*",),
    exclude: Sequence[str] = (),
) -> Channels:
    """Find which channels can be removed, by tracing the network and by trying it.

    torch-pruning finds the layers that depend on each other. prusc keeps the groups in which a channel that nobody
    reads can be removed without any effect on the rest: not where a norm spans the channels, for example. Each group
    is tried on the sample: half of its channels are removed from a copy, and the outputs are compared.

    Args:
        model: Any network; it does not change.
        sample_inputs: Two or more inputs in the form that the network takes.
        head_name: Module name of the head, whose outputs are the classes.
        include: Shell patterns of parameter names; a group needs all of its weights to match at least one.
        exclude: Shell patterns of parameter names; no weight of a group may match one.

    Returns:
        The groups, and the layers that stay whole.

    Raises:
        ConfigError: If torch-pruning is not installed.
        ModelError: If the network cannot be traced.
    """
    traced = copy.deepcopy(model).eval().requires_grad_()
    found: list[ChannelGroup] = []
    whole: dict[str, str] = {}
    modules = dict(traced.named_modules())
    heads = list(_attention_heads(modules))
    found += heads
    in_heads = {name for group in heads for name in group.written}
    traced_groups = [_as_group(items, traced, head_name) for items in _trace(traced, sample_inputs, head_name)]
    for group, problem in merge_grouped(traced_groups, modules):
        if group.name in in_heads:
            continue
        problem = problem or _pattern_problem(group, modules, include, exclude)
        if problem:
            whole |= dict.fromkeys(_weighty(group.written, modules), problem)
        else:
            found.append(group)
    groups = _try_groups(model, found, sample_inputs)
    for group in found:
        if group not in groups:
            whole |= dict.fromkeys(_weighty(group.written, modules), "its number of channels is fixed in the network")
    return Channels(tuple(groups), whole)


def _trace(model: nn.Module, sample_inputs: Any, head_name: str) -> Iterator[Any]:
    """Yield torch-pruning's groups of layers that depend on each other."""
    try:
        import torch_pruning
    except ImportError as error:
        raise ConfigError(
            "channels of a network are found by torch-pruning, which is not installed; pip install 'prusc[compact]'"
        ) from error
    graph = torch_pruning.DependencyGraph()
    try:
        with torch.enable_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph.build_dependency(model, sample_inputs, forward_fn=call_model, verbose=False)
            yield from graph.get_all_groups(ignored_layers=[model.get_submodule(head_name)])
    except (ConfigError, ModelError):
        raise
    except Exception as error:  # The tracer raises errors of any type for networks that it does not know.
        raise ModelError(
            f"the channels of {type(model).__name__} cannot be traced ({type(error).__name__}: {error}); learn one "
            "mask logit per weight instead (masks.granularity weight)"
        ) from error


def _as_group(items: Any, model: nn.Module, head_name: str) -> tuple[ChannelGroup, str]:
    """Turn torch-pruning's group into ours; return it with the reason why its channels have to stay, if any."""
    names = {id(module): name for name, module in model.named_modules()}
    uses = defaultdict(list)
    for name, parameter in model.named_parameters(remove_duplicate=False):
        uses[id(parameter)].append(name)
    written: dict[str, ChannelMap] = {}
    read: dict[str, ChannelMap] = {}
    problem = ""
    root = names[id(items[0].dep.target.module)]
    for item in items.items:
        module = item.dep.target.module
        if id(module) not in names:
            # Operations without parameters are no modules of the network; a parameter of no layer is an obstacle.
            if isinstance(module, nn.Parameter):
                problem = problem or f"the parameter {uses[id(module)][0]} spans its channels"
            continue
        name = names[id(module)]
        places = ChannelMap(torch.tensor(item.idxs), torch.tensor(item.root_idxs))
        is_writer = "out_channels" in item.dep.handler.__name__
        problem = problem or _module_problem(name, module)
        if any(len(uses[id(parameter)]) > 1 for parameter in module.parameters(recurse=False)):
            problem = problem or f"{name} shares its weight with another layer"
        if name == head_name and is_writer:
            problem = problem or "its channels are classes"
        (written if is_writer else read)[name] = places
    if not read:
        problem = problem or "no layer reads its channels"
    size = 1 + max(int(places.units.max()) for places in (*written.values(), *read.values()))
    return ChannelGroup(root, size, written, read), problem


def _module_problem(name: str, module: nn.Module) -> str:
    """Return why a layer's channels cannot be removed one by one, if so."""
    weight = dict(module.named_parameters(recurse=False)).get("weight")
    if isinstance(module, _BatchNorm | _InstanceNorm | nn.PReLU):
        return ""
    if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm):
        return f"the norm {name} spans its channels"
    if isinstance(module, _ConvNd) and not isinstance(module, _ConvTransposeNd) and weight is not None:
        return ""
    if isinstance(module, nn.Linear) and weight is not None:
        return ""
    return f"{name} is a {type(module).__name__}"


def merge_grouped(
    found: Sequence[tuple[ChannelGroup, str]], modules: Mapping[str, nn.Module]
) -> list[tuple[ChannelGroup, str]]:
    """Merge the channels before and after each convolution in groups: a unit is then one group of the convolution.

    Args:
        found: Groups of channels, each with the reason why its channels have to stay, if any.
        modules: All layers by name.

    Returns:
        The groups, where a convolution in groups only writes. Groups that cannot be merged have a reason to stay.
    """
    merged = list(found)
    for name, module in modules.items():
        if not isinstance(module, _ConvNd) or module.groups == 1 or _is_depthwise(module):
            continue
        before = [pair for pair in merged if name in pair[0].read]
        after = [pair for pair in merged if name in pair[0].written]
        both = _merge(name, module, *before[0], *after[0]) if len(before) == len(after) == 1 else None
        for pair in [*before, *after]:
            if pair in merged:
                merged.remove(pair)
                if both is None:
                    merged.append((pair[0], pair[1] or f"{name} is a convolution in groups"))
        merged += [] if both is None else [both]
    return merged


def _is_depthwise(module: _ConvNd) -> bool:
    return module.groups == module.in_channels == module.out_channels


def _merge(
    name: str, module: _ConvNd, before: ChannelGroup, problem: str, after: ChannelGroup, other_problem: str
) -> tuple[ChannelGroup, str] | None:
    """Return the group of the channels on both sides of a convolution in groups; ``None`` if they do not fit."""
    if before is after:
        return None
    sides = (
        (before, before.read[name], module.in_channels // module.groups),
        (after, after.written[name], module.out_channels // module.groups),
    )
    written: dict[str, ChannelMap] = {}
    read: dict[str, ChannelMap] = {}
    for group, channels, width in sides:
        group_of_unit = torch.full((group.size,), -1)
        group_of_unit[channels.units] = channels.positions // width
        if bool((group_of_unit < 0).any()):
            return None
        for target, places in ((written, group.written), (read, group.read)):
            for layer, own in places.items():
                if layer in target:
                    return None
                target[layer] = ChannelMap(own.positions, group_of_unit[own.units])
    del read[name]
    return ChannelGroup(after.name, module.groups, written, read), problem or other_problem


def _pattern_problem(
    group: ChannelGroup, modules: Mapping[str, nn.Module], include: Sequence[str], exclude: Sequence[str]
) -> str:
    for name in _weighty({**group.written, **group.read}, modules):
        if not any(fnmatchcase(f"{name}.weight", pattern) for pattern in include):
            return f"masks.include does not name {name}.weight"
        if any(fnmatchcase(f"{name}.weight", pattern) for pattern in exclude):
            return f"masks.exclude names {name}.weight"
    return ""


def _weighty(names: Mapping[str, ChannelMap], modules: Mapping[str, nn.Module]) -> list[str]:
    """Return those layers that have weights for a mask."""
    return [name for name in names if isinstance(modules[name], _ConvNd | nn.Linear)]


def _attention_heads(modules: Mapping[str, nn.Module]) -> Iterator[ChannelGroup]:
    """Yield the heads of each attention layer in timm's form: ``qkv`` in one linear layer, then ``proj``."""
    for name, module in modules.items():
        qkv, proj = (getattr(module, key, None) for key in ("qkv", "proj"))
        num_heads, head_dim = (getattr(module, key, None) for key in ("num_heads", "head_dim"))
        if not (isinstance(qkv, nn.Linear) and isinstance(proj, nn.Linear)):
            continue
        if not (isinstance(num_heads, int) and isinstance(head_dim, int)) or num_heads < 2:
            continue
        width = num_heads * head_dim
        if qkv.out_features == 3 * width and proj.in_features == width:
            units = torch.arange(num_heads).repeat_interleave(head_dim)
            written = ChannelMap(torch.arange(3 * width), units.repeat(3))
            read = ChannelMap(torch.arange(width), units)
            yield ChannelGroup(f"{name}.qkv", num_heads, {f"{name}.qkv": written}, {f"{name}.proj": read})


def _try_groups(model: nn.Module, groups: Sequence[ChannelGroup], sample_inputs: Any) -> list[ChannelGroup]:
    """Return the groups that can be removed: all at once if that works, else those that work alone."""
    for tried in (list(groups), [group for group in groups if _works(model, [group], sample_inputs)]):
        if _works(model, tried, sample_inputs):
            return tried
    return []


def _works(model: nn.Module, groups: Sequence[ChannelGroup], sample_inputs: Any) -> bool:
    """Whether half of the units can be removed without an effect beyond that of not reading them."""
    kept = [torch.arange(group.size) % 2 == 0 for group in groups]
    masked = _redrawn(model)
    hide(masked, groups, kept)
    try:
        small = shrink(masked, groups)
        with torch.no_grad(), module_modes(masked, False), module_modes(small, False):
            return agree(call_model(small, sample_inputs), call_model(masked, sample_inputs))
    except Exception:  # noqa: BLE001 -- a network whose forward pass names a number of channels fails in any way
        return False


def _redrawn(model: nn.Module) -> nn.Module:
    """Return a copy with other weights, because a layer that is near 0, as some are at first, would hide a mistake."""
    drawn = copy.deepcopy(model)
    generator = torch.Generator().manual_seed(0)
    for parameter in drawn.parameters():
        value = torch.randn(parameter.shape, generator=generator)
        wide = parameter.ndim > 1
        parameter.data.copy_(value / max(parameter[0].numel(), 1) ** 0.5 if wide else 1 + 0.3 * value)
    return drawn


def hide(model: nn.Module, groups: Sequence[ChannelGroup], kept: Sequence[Tensor]) -> None:
    """Set the weights that read the units which are not kept to zero, in place."""
    with torch.no_grad():
        for group, chosen in zip(groups, kept, strict=True):
            for name, channels in group.read.items():
                weight = model.get_submodule(name).weight
                assert isinstance(weight, Tensor)
                weight.index_fill_(1, channels.removed(chosen).to(weight.device), 0.0)


def agree(found: Tensor, expected: Tensor) -> bool:
    """Whether the outputs of two networks are equal but for the order of additions."""
    scale = max(float(expected.abs().max()), 1e-6)
    return bool(found.isfinite().all()) and float((found - expected).abs().max()) <= TOLERANCE * scale
