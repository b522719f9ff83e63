"""Compare masks: how much of their weights do functions share, layer by layer?"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor

from prusc.engine.display import describe_with_table
from prusc.errors import ConfigError, ModelError
from prusc.masks import BinaryMask
from prusc.stages.evaluation import wilson_interval
from prusc.stages.modularity.learning import FunctionMasks

ALL_LAYERS = "all layers"
"""Name of the sum over all layers."""


@dataclass(frozen=True)
class Overlap:
    """The weights that two masks have in common, in one layer or in all.

    Attributes:
        layer: Name of the parameter, or `ALL_LAYERS`.
        first: Name of the first function.
        second: Name of the second function.
        num_first: Weights of the first mask.
        num_second: Weights of the second mask.
        num_both: Weights that both have.
    """

    layer: str
    first: str
    second: str
    num_first: int
    num_second: int
    num_both: int

    @property
    def num_either(self) -> int:
        """Weights that at least one mask has."""
        return self.num_first + self.num_second - self.num_both

    @property
    def iou(self) -> float:
        """Intersection over union; 1 if both masks are empty."""
        return self.num_both / self.num_either if self.num_either else 1.0

    @property
    def subsetness(self) -> float:
        """Share of the smaller mask that the other one has too; 1 if it is empty."""
        smaller = min(self.num_first, self.num_second)
        return self.num_both / smaller if smaller else 1.0

    @property
    def iou_ci95(self) -> tuple[float, float]:
        """95 % Wilson interval of the IoU, with the weights of the union as trials."""
        return wilson_interval(self.num_both, self.num_either) if self.num_either else (0.0, 1.0)

    @property
    def subsetness_ci95(self) -> tuple[float, float]:
        """95 % Wilson interval of the subsetness, with the weights of the smaller mask as trials."""
        smaller = min(self.num_first, self.num_second)
        return wilson_interval(self.num_both, smaller) if smaller else (0.0, 1.0)


@dataclass(frozen=True)
class SharedWeights:
    """How much of one mask other masks have too, in one layer or in all.

    Attributes:
        layer: Name of the parameter, or `ALL_LAYERS`.
        name: Name of the function.
        num_weights: Weights of the layer.
        num_kept: Weights of the mask.
        num_shared: Of these, how many at least one other function has, controls left out.
        num_in_controls: Of these, how many at least one control has; 0 without controls.
    """

    layer: str
    name: str
    num_weights: int
    num_kept: int
    num_shared: int
    num_in_controls: int

    @property
    def share(self) -> float:
        """Share of the mask that another function has too; 0 if the mask is empty."""
        return self.num_shared / self.num_kept if self.num_kept else 0.0

    @property
    def share_ci95(self) -> tuple[float, float]:
        """95 % Wilson interval of that share, with the weights of the mask as trials."""
        return wilson_interval(self.num_shared, self.num_kept) if self.num_kept else (0.0, 1.0)

    @property
    def density(self) -> float:
        """Share of the layer's weights that the mask keeps."""
        return self.num_kept / self.num_weights if self.num_weights else 0.0


@dataclass(frozen=True, eq=False, repr=False)
class MaskComparison:
    """Comparison of the masks of several functions.

    Attributes:
        names: The functions.
        layers: The masked parameters, then `ALL_LAYERS`.
        overlaps: One entry per layer and pair of different functions.
        shares: One entry per layer and function.
    """

    names: tuple[str, ...]
    layers: tuple[str, ...]
    overlaps: tuple[Overlap, ...]
    shares: tuple[SharedWeights, ...]

    def __repr__(self) -> str:
        return f"MaskComparison({len(self.names)} masks, {len(self.layers) - 1} layers)"

    def _repr_html_(self) -> str:
        return describe_with_table(self, self.to_frame())

    def overlap(self, first: str, second: str, layer: str = ALL_LAYERS) -> Overlap:
        """Return the overlap of two functions, in any order."""
        return next(o for o in self.overlaps if o.layer == layer and {o.first, o.second} == {first, second})

    def share(self, name: str, layer: str = ALL_LAYERS) -> SharedWeights:
        """Return how much of a function's mask the others have too."""
        return next(s for s in self.shares if s.layer == layer and s.name == name)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per layer and pair, with IoU, subsetness and their 95 % intervals."""
        return overlaps_to_frame(self.overlaps)


def overlaps_to_frame(overlaps: Sequence[Overlap]) -> pd.DataFrame:
    """Return one row per overlap, with IoU, subsetness and their 95 % intervals."""
    return pd.DataFrame(
        [
            {
                **vars(overlap),
                "iou": overlap.iou,
                "iou_low": overlap.iou_ci95[0],
                "iou_high": overlap.iou_ci95[1],
                "subsetness": overlap.subsetness,
                "subsetness_low": overlap.subsetness_ci95[0],
                "subsetness_high": overlap.subsetness_ci95[1],
            }
            for overlap in overlaps
        ]
    )


def mean_iou(overlaps: Sequence[Overlap]) -> tuple[float, tuple[float, float]]:
    """Return the mean IoU of some pairs, at least one, with a 95 % interval.

    Its limits are the means of the pairs' limits. Pairs have masks in common, so their errors need not cancel out.
    """
    intervals = [overlap.iou_ci95 for overlap in overlaps]
    low, high = (sum(limits) / len(overlaps) for limits in zip(*intervals, strict=True))
    return sum(overlap.iou for overlap in overlaps) / len(overlaps), (low, high)


def pool_overlaps(parts: Sequence[Sequence[Overlap]]) -> tuple[Overlap, ...]:
    """Add up the counts of the same layers and functions, for example over seeds."""
    pooled: dict[tuple[str, str, str], Overlap] = {}
    for overlap in (overlap for part in parts for overlap in part):
        key = overlap.layer, overlap.first, overlap.second
        before = pooled.get(key, Overlap(*key, 0, 0, 0))
        pooled[key] = Overlap(
            *key,
            before.num_first + overlap.num_first,
            before.num_second + overlap.num_second,
            before.num_both + overlap.num_both,
        )
    return tuple(pooled.values())


def compare_masks(masks: FunctionMasks | Mapping[str, BinaryMask], *, controls: Sequence[str] = ()) -> MaskComparison:
    """Compare masks pairwise, and measure how much of each one the others have too.

    Args:
        masks: At least two masks of one network.
        controls: Names of masks that were learned on everything. They count apart from the other functions.

    Returns:
        Overlaps and shares, per layer and in all.

    Raises:
        ConfigError: If there are fewer than two masks, or a control is not among them.
        ModelError: If the masks cover different parameters.

    References:
        Csordas et al. 2021, arXiv:2010.02066.

    Example:
        >>> import torch, prusc
        >>> masks = {
        ...     "add": prusc.BinaryMask({"w": torch.tensor([True, True, False])}),
        ...     "multiply": prusc.BinaryMask({"w": torch.tensor([False, True, True])}),
        ... }
        >>> overlap = prusc.modularity.compare_masks(masks).overlap("add", "multiply")
        >>> round(overlap.iou, 3), overlap.subsetness
        (0.333, 0.5)
    """
    named = masks.masks if isinstance(masks, FunctionMasks) else masks
    names = tuple(named)
    if len(names) < 2:
        raise ConfigError(f"a comparison needs at least two masks, found {len(names)}")
    for control in controls:
        if control not in names:
            raise ConfigError(f"the control {control!r} is not among the masks {', '.join(names)}")
    layers = _layers_of(named)
    both, sizes, shared, in_controls = {}, {}, {}, {}
    is_control = torch.tensor([name in controls for name in names])
    for layer in layers:
        kept = torch.stack([named[name].tensors[layer].flatten() for name in names])
        both[layer] = _count_both(kept)
        sizes[layer] = kept.shape[1]
        # A mask does not share with itself, so its own kind must have two.
        shared[layer] = (kept & (kept[~is_control].sum(0) > (~is_control[:, None]).long())).sum(1)
        in_controls[layer] = (kept & (kept[is_control].sum(0) > is_control[:, None].long())).sum(1)
    for values in (both, shared, in_controls):
        values[ALL_LAYERS] = torch.stack(list(values.values())).sum(0)
    sizes[ALL_LAYERS] = sum(sizes.values())
    return MaskComparison(
        names=names,
        layers=(*layers, ALL_LAYERS),
        overlaps=tuple(
            _make_overlap(layer, names, i, j, both[layer])
            for layer in both
            for i in range(len(names))
            for j in range(i + 1, len(names))
        ),
        shares=tuple(
            SharedWeights(
                layer, name, sizes[layer], int(both[layer][i, i]), int(shared[layer][i]), int(in_controls[layer][i])
            )
            for layer in both
            for i, name in enumerate(names)
        ),
    )


def stability(
    first: FunctionMasks | Mapping[str, BinaryMask], second: FunctionMasks | Mapping[str, BinaryMask]
) -> tuple[Overlap, ...]:
    """Compare two masks of each function, learned with different seeds: the yardstick for all other overlaps.

    Args:
        first: Masks of one seed.
        second: Masks of another seed, of the same functions.

    Returns:
        One entry per layer (and `ALL_LAYERS`) and function.

    Raises:
        ConfigError: If the functions differ.
        ModelError: If the masks cover different parameters.
    """
    one, two = ({name: masks[name] for name in masks} for masks in (first, second))
    if list(one) != list(two):
        raise ConfigError(f"the two sets of masks have different functions: {', '.join(one)}; {', '.join(two)}")
    found: list[Overlap] = []
    for name in one:
        comparison = compare_masks({"first": one[name], "second": two[name]})
        found += [Overlap(o.layer, name, name, o.num_first, o.num_second, o.num_both) for o in comparison.overlaps]
    return tuple(found)


def _layers_of(masks: Mapping[str, BinaryMask]) -> tuple[str, ...]:
    """Return the parameters that all masks cover."""
    shapes = [{layer: kept.shape for layer, kept in mask.tensors.items()} for mask in masks.values()]
    for name, own in zip(masks, shapes, strict=True):
        if own != shapes[0]:
            raise ModelError(f"the masks of {next(iter(masks))!r} and {name!r} cover different parameters")
    return tuple(shapes[0])


def _count_both(kept: Tensor) -> Tensor:
    """Return how many weights each pair of masks has in common, shape [masks, masks]."""
    counts = torch.zeros(len(kept), len(kept), dtype=torch.long)
    # Sums of so few ones are exact in single precision, and the numbers of a large layer need not exist at once.
    for part in kept.split(1 << 20, dim=1):
        ones = part.float()
        counts += (ones @ ones.T).long()
    return counts


def _make_overlap(layer: str, names: Sequence[str], i: int, j: int, both: Tensor) -> Overlap:
    return Overlap(layer, names[i], names[j], int(both[i, i]), int(both[j, j]), int(both[i, j]))
