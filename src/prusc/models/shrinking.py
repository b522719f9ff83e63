"""Make a network physically smaller: remove channels that no layer reads."""

import copy
from collections import defaultdict
from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from prusc.errors import ModelError
from prusc.masks import ChannelGroup


def shrink(model: nn.Module, groups: Sequence[ChannelGroup]) -> nn.Module:
    """Return a copy without the units that no layer reads, with the same outputs.

    Args:
        model: Any network; it does not change.
        groups: Groups of its channels.

    Returns:
        A network of the same classes, whose layers have fewer channels. Each group keeps at least one unit.
    """
    modules = dict(model.named_modules())
    removed: dict[tuple[str, int], list[Tensor]] = defaultdict(list)
    for group in groups:
        kept = read_units(model, group)
        for dim, places in ((0, group.written), (1, group.read)):
            for name, channels in places.items():
                removed[name, dim].append(channels.removed(kept))
    state = dict(model.state_dict())
    for (name, dim), positions in removed.items():
        for key, size in _sized_tensors(modules[name], dim):
            keep = torch.ones(size, dtype=torch.bool)
            keep[torch.cat(positions)] = False
            full = f"{name}.{key}" if name else key
            state[full] = state[full].index_select(dim, keep.nonzero().squeeze(1).to(state[full].device))
    small = copy.deepcopy(model)
    load_compact(small, state)
    return small


def read_units(model: nn.Module, group: ChannelGroup) -> Bool[Tensor, " units"]:
    """Return which units of a group a layer reads with a weight other than zero; the first one if there is none."""
    kept = torch.zeros(group.size, dtype=torch.bool)
    for name, channels in group.read.items():
        weight = model.get_submodule(name).weight
        assert isinstance(weight, Tensor)
        used = weight.detach().transpose(0, 1).flatten(1).ne(0).any(dim=1).cpu()
        kept[channels.units[used[channels.positions]]] = True
    if not bool(kept.any()):
        kept[0] = True
    return kept


def _sized_tensors(module: nn.Module, dim: int) -> list[tuple[str, int]]:
    """Return the tensors of a layer that have its channels along a dimension, and their number of channels."""
    own = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    return [(key, value.shape[dim]) for key, value in own if value.ndim > dim]


def load_compact(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load the weights of a shrunk network into one of the original size, whose layers shrink to fit.

    The shapes of the weights say all that is needed, so a file of weights and the code of the network are enough.

    Args:
        model: A network of the original architecture; it is changed in place.
        state: State dict of the shrunk network, such as a safetensors file holds.

    Raises:
        ModelError: If a weight is missing, or a layer cannot have the shape that the state dict has for it.
    """
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        for key, value in [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]:
            new = state.get(prefix + key)
            if new is None or new.shape == value.shape:
                continue
            if new.ndim != value.ndim or any(a > b for a, b in zip(new.shape, value.shape, strict=True)):
                raise ModelError(
                    f"{prefix}{key} has shape {list(new.shape)} in the weights and {list(value.shape)} in "
                    f"{type(model).__name__}; name the network whose smaller version these are"
                )
            _resize(module, key, new, value, prefix + key)
    for module in model.modules():
        _recount_heads(module)
    missing, unexpected = model.load_state_dict(dict(state), strict=False)
    if missing or unexpected:
        raise ModelError(
            f"the weights do not fit {type(model).__name__}; missing: {', '.join(missing[:5]) or 'none'}; not in the "
            f"network: {', '.join(unexpected[:5]) or 'none'}"
        )


def _resize(module: nn.Module, key: str, new: Tensor, old: Tensor, title: str) -> None:
    """Give one tensor of a layer a new shape, and the layer the counts that follow from it."""
    fresh = torch.empty(new.shape, dtype=old.dtype, device=old.device)
    setattr(module, key, nn.Parameter(fresh, old.requires_grad) if isinstance(old, nn.Parameter) else fresh)
    if isinstance(module, _ConvNd):
        if key == "weight":
            # Of a convolution in groups, whole groups are removed.
            module.groups = module.groups * new.shape[0] // old.shape[0] if module.groups > 1 else 1
            module.out_channels, module.in_channels = new.shape[0], new.shape[1] * module.groups
    elif isinstance(module, nn.Linear):
        if key == "weight":
            module.out_features, module.in_features = new.shape
    elif isinstance(module, _NormBase):
        module.num_features = new.shape[0]
    elif isinstance(module, nn.PReLU):
        module.num_parameters = new.shape[0]
    else:
        raise ModelError(
            f"{title} has shape {list(new.shape)} in the weights and {list(old.shape)} in the network, and a "
            f"{type(module).__name__} cannot shrink"
        )


def _recount_heads(module: nn.Module) -> None:
    """Let an attention layer of timm's form have as many heads as its weights."""
    qkv, head_dim = getattr(module, "qkv", None), getattr(module, "head_dim", None)
    if isinstance(qkv, nn.Linear) and isinstance(head_dim, int) and hasattr(module, "num_heads"):
        num_heads = qkv.out_features // (3 * head_dim)
        vars(module)["num_heads"] = num_heads
        if hasattr(module, "attn_dim"):
            vars(module)["attn_dim"] = num_heads * head_dim
