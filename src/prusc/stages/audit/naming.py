"""What the samples of a suspect share that the rest of their classes do not: ranked, tested differences.

The pseudo-attribute may come from anywhere; only its value for each sample counts. Everything is compared within each
class, so a difference between the classes is no difference of a suspect.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import rankdata
from scipy.stats import t as student
from torch import Tensor
from torch.nn import functional as F

from prusc.stages.audit.image_features import Feature

# Cohen 1988 calls 0.2 a small effect; a shortcut that a network learns shows a larger one.
_SMALLEST_EFFECT = 0.2
# A difference that loses this share of its size once stronger ones are held fixed follows from them.
_SHARE_EXPLAINED = 0.5
# Two features say the same if they correlate this much within the classes.
_SAYS_THE_SAME = 0.999
_PERMUTATIONS_AT_ONCE = 64


@dataclass(frozen=True)
class Difference:
    """A feature in which the samples of one value of the pseudo-attribute differ from the rest of their classes.

    Attributes:
        feature: Key of the feature.
        text: The difference in words, such as ``left: redder``.
        unit: What a difference of 1 is.
        inside: Mean over the samples of the value.
        outside: Mean over the other samples of the same classes, in the same mixture of classes.
        difference: ``inside`` minus ``outside``.
        ci95: Its 95 % interval (Welch).
        effect: The difference divided by the standard deviation within classes.
        auc: Probability that a sample of the value has the higher feature, of two samples of one class; ties count
            half.
        p_value: Probability of a difference this clear in any feature of any value, if values said nothing about
            samples of a class.
        follows: Key of the strongest difference if this one is mostly its consequence; ``None`` if it stands alone.
    """

    feature: str
    text: str
    unit: str
    inside: float
    outside: float
    difference: float
    ci95: tuple[float, float]
    effect: float
    auc: float
    p_value: float
    follows: str | None = None


def name_values(
    features: Float[Tensor, "samples features"],
    descriptions: Sequence[Feature],
    labels: Int[Tensor, " samples"],
    values: Int[Tensor, " samples"],
    asked: Sequence[int],
    *,
    num_permutations: int = 999,
    significance: float = 0.05,
    generator: torch.Generator,
) -> dict[int, tuple[Difference, ...]]:
    """Name what the samples of each asked value share that the rest of their classes do not.

    Args:
        features: Finite numbers that describe each sample.
        descriptions: What each feature is.
        labels: Class of each sample.
        values: Value of the pseudo-attribute, such as the cluster, of each sample.
        asked: The values to name, such as the suspects.
        num_permutations: Number of shuffles of the test, at least 1.
        significance: Largest p-value of a difference that is named.
        generator: Source of the shuffles.

    Returns:
        For each asked value, its significant differences of at least a small effect, the largest effect first.
    """
    features = features.double()
    p_values = difference_p_values(features, labels, values, asked, num_permutations, generator)
    found = {}
    for row, value in enumerate(asked):
        inside = values == value
        sizes = measure_differences(features, labels, inside)
        clear = (p_values[row] <= significance) & (sizes.effect.abs() >= _SMALLEST_EFFECT)
        # Of a value and its opposite, the one that is more frequent comes first.
        order = sorted(
            clear.nonzero()[:, 0].tolist(),
            key=lambda index: (-round(abs(sizes.effect[index].item()), 9), -sizes.effect[index].item()),
        )
        names = {index: descriptions[index].name for index in order}
        leaders = find_followers(features, labels, inside, order)
        found[value] = tuple(
            Difference(
                feature=descriptions[index].name,
                text=descriptions[index].describe(sizes.difference[index].item()),
                unit=descriptions[index].unit,
                inside=sizes.inside[index].item(),
                outside=(sizes.inside - sizes.difference)[index].item(),
                difference=sizes.difference[index].item(),
                ci95=(sizes.low[index].item(), sizes.high[index].item()),
                effect=sizes.effect[index].item(),
                auc=sizes.auc[index].item(),
                p_value=p_values[row, index].item(),
                follows=None if (leader := leaders[index]) is None else names[leader],
            )
            for index in order
        )
    return found


@dataclass(frozen=True, eq=False)
class DifferenceSizes:
    """Sizes of the differences in each feature; see `Difference`."""

    inside: Float[Tensor, " features"]
    difference: Float[Tensor, " features"]
    low: Float[Tensor, " features"]
    high: Float[Tensor, " features"]
    effect: Float[Tensor, " features"]
    auc: Float[Tensor, " features"]


def measure_differences(
    features: Float[Tensor, "samples features"], labels: Int[Tensor, " samples"], inside: Bool[Tensor, " samples"]
) -> DifferenceSizes:
    """Measure how the samples inside differ from the other samples of their classes.

    Classes with samples on one side only say nothing. Every other class counts by ``n1 * n0 / (n1 + n0)``, its numbers
    of samples inside and outside, which is the precision of its difference.

    Args:
        features: Of each sample.
        labels: Class of each sample.
        inside: Whether a sample has the value of the pseudo-attribute.

    Returns:
        The sizes; 0 with AUC 0.5 if no class has samples on both sides.
    """
    features = features.double()
    zero = torch.zeros(features.shape[1], dtype=torch.float64)
    mean, difference, auc, squares, variance, freedom = torch.zeros(6, features.shape[1], dtype=torch.float64)
    total, auc_total, num_free = 0.0, 0.0, 0
    if not features.shape[1]:
        return DifferenceSizes(zero, zero, zero, zero, zero, zero)  # PyTorch warns of the variance of no columns.
    for own, members in _classes_on_both_sides(features, labels, inside):
        here, rest = own[members], own[~members]
        num_here, num_rest = len(here), len(rest)
        weight = num_here * num_rest / len(own)
        total += weight
        mean += weight * here.mean(dim=0)
        difference += weight * (here.mean(dim=0) - rest.mean(dim=0))
        spread = (own - own.mean(dim=0)).square().sum(dim=0)
        squares += spread
        num_free += len(own) - 1
        for part in (here, rest):
            # A single sample has no variance of its own, so it takes that of its class.
            its = part.var(dim=0) if len(part) > 1 else spread / (len(own) - 1)
            share = weight**2 * its / len(part)
            variance += share
            freedom += share.square() / max(len(part) - 1, 1)
        auc_weight = num_here * num_rest / (len(own) + 1)
        ranks = _mid_ranks(own)[members].sum(dim=0)
        auc += auc_weight * (ranks - num_here * (num_here + 1) / 2) / (num_here * num_rest)
        auc_total += auc_weight
    if total == 0:
        return DifferenceSizes(zero, zero, zero, zero, zero, zero + 0.5)
    # Welch and Satterthwaite: the interval of a sum of differences with unequal variances.
    degrees = torch.where(freedom > 0, variance.square() / freedom.clamp(min=1e-300), 1.0).clamp(min=1)
    half = torch.from_numpy(student.ppf(0.975, degrees.numpy())) * variance.sqrt() / total
    deviation = (squares / max(num_free, 1)).sqrt()
    effect = torch.where(deviation > 1e-9, difference / total / deviation.clamp(min=1e-9), 0.0)
    middle = difference / total
    return DifferenceSizes(mean / total, middle, middle - half, middle + half, effect, auc / auc_total)


def difference_p_values(
    features: Float[Tensor, "samples features"],
    labels: Int[Tensor, " samples"],
    values: Int[Tensor, " samples"],
    asked: Sequence[int],
    num_permutations: int,
    generator: torch.Generator,
) -> Float[Tensor, "asked features"]:
    """Test whether samples of a value differ from the rest of their classes, corrected for all features and values.

    The statistic is the standardised rank sum within classes. The permutations shuffle the values within each class,
    and each statistic is compared with the largest one, in absolute value, of every permutation.

    Args:
        features: Of each sample.
        labels: Class of each sample.
        values: Value of the pseudo-attribute of each sample.
        asked: The values to test.
        num_permutations: Number of permutations, at least 1.
        generator: Source of the permutations.

    Returns:
        P-values, at least 1 / (permutations + 1); 1 where a feature does not vary within any class.

    References:
        van Elteren 1960 (the rank sum of strata); Westfall and Young 1993 (the correction).
    """
    num_features = features.shape[1]
    if not asked or not num_features:
        return torch.ones(len(asked), num_features, dtype=torch.float64)
    classes = []
    variance = torch.zeros(len(asked), num_features, dtype=torch.float64)
    for label in labels.unique().tolist():
        members = labels == label
        own, size = values[members], int(members.sum())
        if size < 2:
            continue
        ranks = _mid_ranks(features[members].double())
        ranks = (ranks - ranks.mean(dim=0)) / (size + 1)
        inside = torch.tensor([int((own == value).sum()) for value in asked], dtype=torch.float64)
        variance += (inside * (size - inside) / size)[:, None] * ranks.square().sum(dim=0) / (size - 1)
        classes.append((own, ranks))
    deviation = variance.sqrt()
    varies = deviation > 1e-9

    def statistics(num: int, *, shuffle: bool) -> Tensor:
        sums = torch.zeros(num, len(asked), num_features, dtype=torch.float64)
        for own, ranks in classes:
            order = torch.rand(num, len(own), generator=generator).argsort(dim=1) if shuffle else None
            shuffled = own[None] if order is None else own[order]
            for row, value in enumerate(asked):
                sums[:, row] += (shuffled == value).double() @ ranks
        return torch.where(varies, sums / deviation.clamp(min=1e-9), 0.0).abs()

    observed = statistics(1, shuffle=False)[0]
    exceeded = torch.zeros_like(observed)
    for start in range(0, num_permutations, _PERMUTATIONS_AT_ONCE):
        num = min(_PERMUTATIONS_AT_ONCE, num_permutations - start)
        largest = statistics(num, shuffle=True).flatten(1).amax(dim=1)
        exceeded += (largest[:, None, None] >= observed - 1e-9).sum(dim=0)
    return torch.where(varies, (1 + exceeded) / (1 + num_permutations), 1.0)


def find_followers(
    features: Float[Tensor, "samples features"],
    labels: Int[Tensor, " samples"],
    inside: Bool[Tensor, " samples"],
    order: Sequence[int],
) -> dict[int, int | None]:
    """Return which differences follow from stronger ones, as a darker corner follows from a darker picture.

    A difference follows if it loses at least half of its size once the stronger differences that stand alone are held
    fixed. The slopes are those within each class and side, so that two differences which merely occur together do not
    explain each other. It also follows if it says the same, as "is A" and "is not B" do where there are two values.

    Args:
        features: Of each sample.
        labels: Class of each sample.
        inside: Whether a sample has the value of the pseudo-attribute.
        order: Features to look at, the strongest difference first.

    Returns:
        For each of these features the strongest one that it follows from, by correlation; ``None`` if it stands alone.
    """
    features = features.double()
    residuals, centred = features.clone(), features.clone()
    for label in labels.unique().tolist():
        centred[labels == label] -= features[labels == label].mean(dim=0)
        for side in (inside, ~inside):
            members = (labels == label) & side
            if bool(members.any()):
                residuals[members] -= features[members].mean(dim=0)
    differences = measure_differences(features, labels, inside).difference
    alone: list[int] = []
    found: dict[int, int | None] = {}
    for index in order:
        left, nearest = differences[index], None
        if alone:
            slopes = torch.linalg.lstsq(residuals[:, alone], residuals[:, [index]], driver="gelsd").solution[:, 0]
            left = differences[index] - slopes @ differences[alone]
            explained = (slopes * differences[alone]) * differences[index].sign()
            nearest = alone[int(explained.argmax())]
            same = F.cosine_similarity(centred[:, alone], centred[:, [index]], dim=0).abs()
            if bool((same > _SAYS_THE_SAME).any()):
                left, nearest = torch.zeros_like(left), alone[int(same.argmax())]
        if nearest is None or bool(left.abs() > (1 - _SHARE_EXPLAINED) * differences[index].abs()):
            alone.append(index)
            nearest = None
        found[index] = nearest
    return found


def _classes_on_both_sides(features: Tensor, labels: Tensor, inside: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Return features and side of the samples of each class that has samples on both sides."""
    found = []
    for label in labels.unique().tolist():
        members = labels == label
        sides = inside[members]
        if bool(sides.any()) and not bool(sides.all()):
            found.append((features[members], sides))
    return found


def _mid_ranks(values: Tensor) -> Tensor:
    """Return the ranks from 1 of each column; equal values share their mean rank."""
    return torch.from_numpy(rankdata(values.numpy(), axis=0))
