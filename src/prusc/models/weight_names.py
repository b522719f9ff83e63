"""Names of weights in files, which wrappers and other programs change, made to fit a network."""

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

# Wrappers put these before the names of what they hold, at any depth.
_WRAPPERS = ("module", "_orig_mod", "_forward_module", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
# Counters and notes that are no part of a network.
_NOTES = ("num_batches_tracked", "total_ops", "total_params", "_extra_state", "n_averaged")


def is_note(name: str) -> bool:
    """Whether an entry of a state dict is a counter or note, which a network computes without."""
    return name.rpartition(".")[2] in _NOTES


def fit_names(own: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights under the names of a network.

    The names are tried as they are, then without the prefixes of wrappers, then below one prefix, and so on. Weights
    that are stored in parts (weight norm, masks of ``torch.nn.utils.prune``) are put together.

    Args:
        own: State dict of the network.
        weights: State dict of the file.

    Returns:
        The first way that has all weights of the network, without counters; else the one that misses fewest.
    """
    wanted = {name for name in own if not is_note(name)}
    tried = list(_ways(wanted, own, dict(weights)))
    best = min(tried, key=lambda found: len(wanted - found.keys()))
    return {name: value for name, value in best.items() if name in own or not is_note(name)}


def _ways(wanted: set[str], own: Mapping[str, Tensor], weights: dict[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    yield weights
    for start in (weights, _merge_parts(weights)):
        for named in (start, _rename(start, _without_wrappers)):
            yield named
            for prefix in dict.fromkeys(_prefixes(named)):
                inner = {name.removeprefix(prefix): value for name, value in named.items() if name.startswith(prefix)}
                yield inner
                outside = {name: value for name, value in named.items() if not name.startswith(prefix)}
                yield _with_head(wanted, own, inner, outside)
            for prefix in dict.fromkeys(_prefixes(wanted)):
                yield {prefix + name: value for name, value in named.items()}


def _prefixes(names: "set[str] | dict[str, Tensor]") -> Iterator[str]:
    """Yield the first one and the first two parts of each name."""
    for name in names:
        parts = name.split(".")
        for number in (1, 2):
            if len(parts) > number:
                yield ".".join(parts[:number]) + "."


def _without_wrappers(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in _WRAPPERS)


def _rename(weights: Mapping[str, Tensor], rename: Callable[[str], str]) -> dict[str, Tensor]:
    return {rename(name): value for name, value in weights.items()}


def _with_head(
    wanted: set[str], own: Mapping[str, Tensor], inner: dict[str, Tensor], outside: dict[str, Tensor]
) -> dict[str, Tensor]:
    """Return a backbone with the head that lies beside it, under the name of the network's own head."""
    missing = [name for name in own if name in wanted - inner.keys()]
    rest = [name for name in outside if not is_note(name)]
    one_layer = (
        len({name.rpartition(".")[0] for name in missing}) == len({name.rpartition(".")[0] for name in rest}) == 1
    )
    if not one_layer or {n.rpartition(".")[2] for n in missing} != {n.rpartition(".")[2] for n in rest}:
        return inner
    named = {name.rpartition(".")[2]: outside[name] for name in rest}
    if any(own[name].shape[1:] != named[name.rpartition(".")[2]].shape[1:] for name in missing):
        return inner
    return inner | {name: named[name.rpartition(".")[2]] for name in missing}


def _merge_parts(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights that are stored as direction and length, or with a mask of zeros, as one tensor each."""
    merged = dict(weights)
    for name in weights:
        for first, second, target, combine in (
            ("_orig", "_mask", "", _mask),
            ("_g", "_v", "", _scale),
            (".original0", ".original1", None, _scale),
        ):
            if not name.endswith(first) or (base := name.removesuffix(first)) + second not in weights:
                continue
            whole = base if target == "" else base.replace("parametrizations.", "")
            value = combine(weights[name], weights[base + second])
            if value is not None:
                del merged[name], merged[base + second]
                merged[whole] = value
    return merged


def _mask(weight: Tensor, mask: Tensor) -> Tensor | None:
    return weight * mask if weight.shape == mask.shape else None


def _scale(length: Tensor, direction: Tensor) -> Tensor | None:
    """Return a weight of weight norm, whose lengths belong to its first dimension."""
    if length.ndim != direction.ndim or length.numel() != direction.shape[0]:
        return None
    norms: Tensor = torch.linalg.vector_norm(direction.flatten(1), dim=1).view_as(length)
    return direction * (length / norms)
