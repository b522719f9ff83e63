"""What a network still does under masks: its accuracy on each function, and without parts of a mask."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

import pandas as pd
import torch
from torch import nn

from prusc.engine.display import describe_with_table
from prusc.errors import ConfigError
from prusc.masks import BinaryMask
from prusc.stages.evaluation import wilson_interval
from prusc.stages.modularity.functions import FunctionData, as_function_feed, check_samples, function_labels
from prusc.stages.modularity.learning import FunctionMasks
from prusc.stages.modularity.prediction import judge_samples, predict_outputs

NO_MASK = "no mask"
"""Name of the row of the whole network."""

Edges = Literal["inverted", "full", "ones"]


@dataclass(frozen=True)
class MaskedAccuracy:
    """Accuracy on one function under one mask. A sample is right if all its outputs that count are.

    Attributes:
        mask: Name of the mask.
        function: Name of the function that is tested.
        num_right: Samples that are right.
        num_samples: Samples of the function.
    """

    mask: str
    function: str
    num_right: int
    num_samples: int

    @property
    def accuracy(self) -> float:
        """In [0, 1]."""
        return self.num_right / self.num_samples

    @property
    def ci95(self) -> tuple[float, float]:
        """95 % Wilson interval of the accuracy."""
        return wilson_interval(self.num_right, self.num_samples)


@dataclass(frozen=True, eq=False, repr=False)
class AccuracyTable:
    """Accuracies by mask and function.

    Attributes:
        entries: Row by row.
    """

    entries: tuple[MaskedAccuracy, ...]

    def __repr__(self) -> str:
        masks, functions = {entry.mask for entry in self.entries}, {entry.function for entry in self.entries}
        return f"AccuracyTable({len(masks)} masks, {len(functions)} functions)"

    def _repr_html_(self) -> str:
        return describe_with_table(self, self.to_frame())

    def get(self, mask: str, function: str) -> MaskedAccuracy:
        """Return the entry of one mask and one function."""
        return next(entry for entry in self.entries if entry.mask == mask and entry.function == function)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per mask and function, with the 95 % interval."""
        return pd.DataFrame(
            [
                {**vars(entry), "accuracy": entry.accuracy, "low": entry.ci95[0], "high": entry.ci95[1]}
                for entry in self.entries
            ]
        )


@dataclass(frozen=True)
class HalfMaskResult:
    """What half of the shared, and half of the private weights of a mask are worth.

    Attributes:
        function: Name of the function.
        num_shared: Weights of its mask that another function has too.
        num_private: Weights that no other function has.
        whole: Accuracy under its whole mask.
        without_shared: Accuracy without a random half of the shared weights.
        without_private: Accuracy without a random half of the private weights.
    """

    function: str
    num_shared: int
    num_private: int
    whole: MaskedAccuracy
    without_shared: MaskedAccuracy
    without_private: MaskedAccuracy


def cross_accuracy(
    model: nn.Module,
    masks: FunctionMasks | Mapping[str, BinaryMask],
    functions: Mapping[str, FunctionData],
) -> AccuracyTable:
    """Measure the accuracy under each mask on each function; the first row has no mask.

    Args:
        model: Not changed.
        masks: Masks by name.
        functions: Samples that no mask has learned from, by the function's name.

    Returns:
        One entry per mask and function.

    Raises:
        DataError: If a function has no samples or no label that counts.
        ModelError: If a mask does not fit the network.

    References:
        Csordas et al. 2021, arXiv:2010.02066.

    Example:
        >>> import torch, prusc
        >>> model = torch.nn.Linear(2, 2, bias=False)
        >>> with torch.no_grad():
        ...     _ = model.weight.copy_(torch.eye(2))
        >>> test = {"same": prusc.modularity.Examples(torch.eye(2), torch.arange(2))}
        >>> masks = {"half": prusc.BinaryMask({"weight": torch.tensor([[False, False], [False, True]])})}
        >>> table = prusc.modularity.cross_accuracy(model, masks, test)
        >>> [entry.num_right for entry in table.entries]
        [2, 2]
    """
    check_samples(functions)
    rows: dict[str, BinaryMask | None] = {NO_MASK: None, **{name: masks[name] for name in masks}}
    return AccuracyTable(
        tuple(
            _measure(model, mask, name, function, data)
            for name, mask in rows.items()
            for function, data in functions.items()
        )
    )


def inverse_accuracy(
    model: nn.Module,
    masks: FunctionMasks | Mapping[str, BinaryMask],
    functions: Mapping[str, FunctionData],
    *,
    edges: Edges = "full",
    edge_layers: Sequence[str] = (),
    full: BinaryMask | None = None,
) -> AccuracyTable:
    """Measure the accuracy under the inverse of each mask: what is left once a function's weights are gone?

    All functions need the input and the output layer, so these can be kept.

    Args:
        model: Not changed.
        masks: Masks by name.
        functions: Samples of each function.
        edges: What happens to the input and output layers: they are ``inverted`` too, keep the weights of the mask
            that was learned on everything (``full``), or keep all weights (``ones``).
        edge_layers: Shell patterns of these layers; the first and the last masked parameter if empty.
        full: The mask for ``full``; the union of all masks if ``None``.

    Returns:
        One entry per mask and function.

    Raises:
        ConfigError: If a pattern matches no layer.
        DataError: If a function has no samples or no label that counts.

    References:
        Csordas et al. 2021, arXiv:2010.02066.
    """
    check_samples(functions)
    named = {name: masks[name] for name in masks}
    layers = list(next(iter(named.values())).tensors)
    kept = _find_edges(layers, edge_layers)
    if full is None:
        full = next(iter(named.values()))
        for mask in named.values():
            full = full.union(mask)
    return AccuracyTable(
        tuple(
            _measure(model, _invert(mask, kept, edges, full), name, function, data)
            for name, mask in named.items()
            for function, data in functions.items()
        )
    )


def half_mask_test(
    model: nn.Module,
    masks: FunctionMasks | Mapping[str, BinaryMask],
    functions: Mapping[str, FunctionData],
    *,
    generator: torch.Generator,
) -> tuple[HalfMaskResult, ...]:
    """Take half of the shared, or half of the private weights out of each function's mask, and test the function.

    Args:
        model: Not changed.
        masks: Masks of at least two functions.
        functions: Samples of each of these functions.
        generator: Chooses the halves.

    Returns:
        One entry per function.

    Raises:
        ConfigError: If there are fewer than two masks, or a mask has no function.
        DataError: If a function has no samples or no label that counts.
    """
    check_samples(functions)
    named = {name: masks[name] for name in masks}
    if len(named) < 2:
        raise ConfigError(f"shared weights need at least two masks, found {len(named)}")
    if not named.keys() <= functions.keys():
        raise ConfigError(f"no samples for the masks {', '.join(sorted(named.keys() - functions.keys()))}")
    found = []
    for name, mask in named.items():
        others = BinaryMask({layer: torch.zeros_like(kept) for layer, kept in mask.tensors.items()})
        for other in named.keys() - {name}:
            others = others.union(named[other])
        parts = {"shared": mask.intersection(others), "private": mask.intersection(others.inverse())}
        accuracies = {"whole": _measure(model, mask, name, name, functions[name])}
        for part, own in parts.items():
            rest = mask.intersection(_random_half(own, generator).inverse())
            accuracies[part] = _measure(
                model, rest, f"{name} without half of the {part} weights", name, functions[name]
            )
        sizes = {part: sum(int(kept.sum()) for kept in own.tensors.values()) for part, own in parts.items()}
        found.append(
            HalfMaskResult(
                name,
                sizes["shared"],
                sizes["private"],
                accuracies["whole"],
                accuracies["shared"],
                accuracies["private"],
            )
        )
    return tuple(found)


def _measure(model: nn.Module, mask: BinaryMask | None, name: str, function: str, data: FunctionData) -> MaskedAccuracy:
    predictions = predict_outputs(model, mask, data, name=function)
    right = judge_samples(predictions, function_labels(as_function_feed(data, model)))
    return MaskedAccuracy(name, function, int(right.sum()), len(right))


def _find_edges(layers: Sequence[str], patterns: Sequence[str]) -> set[str]:
    if not patterns:
        return {layers[0], layers[-1]}
    for pattern in patterns:
        if not any(fnmatchcase(layer, pattern) for layer in layers):
            raise ConfigError(f"edge layer {pattern!r} matches none of the masked layers {', '.join(layers[:8])}")
    return {layer for layer in layers if any(fnmatchcase(layer, pattern) for pattern in patterns)}


def _invert(mask: BinaryMask, edge_layers: set[str], edges: Edges, full: BinaryMask) -> BinaryMask:
    tensors = dict(mask.inverse().tensors)
    for layer in edge_layers:
        if edges == "full":
            tensors[layer] = full.tensors[layer]
        elif edges == "ones":
            tensors[layer] = torch.ones_like(tensors[layer])
    return BinaryMask(tensors)


def _random_half(mask: BinaryMask, generator: torch.Generator) -> BinaryMask:
    """Return a mask that keeps a random half of the weights that a mask keeps; the larger half of an odd number."""
    kept = torch.cat([values.flatten() for values in mask.tensors.values()]).nonzero()[:, 0]
    half = kept[torch.randperm(len(kept), generator=generator)[: (len(kept) + 1) // 2]]
    flat = torch.zeros(sum(values.numel() for values in mask.tensors.values()), dtype=torch.bool)
    flat[half] = True
    parts = flat.split([values.numel() for values in mask.tensors.values()])
    return BinaryMask({name: part.view_as(mask.tensors[name]) for name, part in zip(mask.tensors, parts, strict=True)})
