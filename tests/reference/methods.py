"""Slow, obvious twins of the formulas of prusc.methods and their losses: one sample, one pair at a time."""

import math
import statistics
from collections import Counter
from collections.abc import Sequence


def cross_entropy(logits: Sequence[float], label: int, scale: float = 1.0) -> float:
    return -math.log(math.exp(scale * logits[label]) / sum(math.exp(scale * logit) for logit in logits))


def scale_gradient(logits: Sequence[float], label: int) -> float:
    """Slope of the cross-entropy in the scale, by central differences."""
    step = 1e-6
    return (cross_entropy(logits, label, 1 + step) - cross_entropy(logits, label, 1 - step)) / (2 * step)


def irm_loss(
    logits: Sequence[Sequence[float]],
    labels: Sequence[int],
    memberships: Sequence[Sequence[float]],
    penalty_weight: float,
) -> float:
    num_environments = len(memberships[0])
    total = 0.0
    for environment in range(num_environments):
        share = [row[environment] * num_environments for row in memberships]
        losses = [s * cross_entropy(z, y) for s, z, y in zip(share, logits, labels, strict=True)]
        slopes = [s * scale_gradient(z, y) for s, z, y in zip(share, logits, labels, strict=True)]
        even, odd = slopes[0::2], slopes[1::2]
        penalty = (sum(even) / len(even)) * (sum(odd) / len(odd))
        total += (sum(losses) / len(losses) + penalty_weight * penalty) / num_environments
    return total / max(1.0, penalty_weight)


def full_batch_irm_loss(
    logits: Sequence[Sequence[float]],
    labels: Sequence[int],
    probabilities: Sequence[Sequence[float]],
    penalty_weight: float,
) -> float:
    num_environments = len(probabilities[0])
    total = 0.0
    for environment in range(num_environments):
        risk = slope = 0.0
        for row, z, y in zip(probabilities, logits, labels, strict=True):
            risk += row[environment] * cross_entropy(z, y)
            slope += row[environment] * scale_gradient(z, y)
        total += (risk + penalty_weight * slope**2) / num_environments
    return total / max(1.0, penalty_weight)


def confusion_weights(predictions: Sequence[int], labels: Sequence[int]) -> list[float]:
    """One sample at a time, by the published symbols: M, J, P, q and w."""
    num_samples = len(labels)
    pairs = list(zip(predictions, labels, strict=True))
    raw = []
    for i, j in pairs:
        m = pairs.count((i, j))
        p = (m / num_samples) / (labels.count(j) / num_samples)
        q = predictions.count(i) / num_samples
        raw.append((q / p) / m)
    return [weight / sum(raw) for weight in raw]


def dimension_growth(
    values: Sequence[Sequence[float]], labels: Sequence[int], wrong: Sequence[bool], classes: str
) -> list[float]:
    """The largest or the mean difference of medians over the classes, one dimension at a time."""
    found = []
    for dimension in range(len(values[0])):
        differences = []
        for label in set(labels):
            parts: dict[bool, list[float]] = {True: [], False: []}
            for row, own, is_wrong in zip(values, labels, wrong, strict=True):
                if own == label:
                    parts[is_wrong].append(row[dimension])
            if parts[True] and parts[False]:
                differences.append(statistics.median(parts[True]) - statistics.median(parts[False]))
        found.append(max(differences) if classes == "any" else statistics.mean(differences))
    return found


def chosen_by_loss(losses: Sequence[float], labels: Sequence[int], share: float) -> set[int]:
    k = max(1, round(share * min(labels.count(label) for label in set(labels))))
    chosen: set[int] = set()
    for label in set(labels):
        ranked = sorted(
            (loss, index) for index, (loss, own) in enumerate(zip(losses, labels, strict=True)) if own == label
        )
        chosen |= {index for _, index in ranked[:k]} | {index for _, index in ranked[-k:]}
    return chosen


def split_penalty(slopes: Sequence[float], memberships: Sequence[float]) -> float:
    """What EIIL maximises."""
    first = sum(q * g for q, g in zip(memberships, slopes, strict=True)) / len(slopes)
    second = sum((1 - q) * g for q, g in zip(memberships, slopes, strict=True)) / len(slopes)
    return (first**2 + second**2) / 2


def spare_weights(cluster_ids: Sequence[int], labels: Sequence[int], powers: Sequence[float]) -> list[float]:
    size = Counter(cluster_ids)
    raw = [1 / size[cluster] ** powers[label] for cluster, label in zip(cluster_ids, labels, strict=True)]
    of_class = Counter[int]()
    for weight, label in zip(raw, labels, strict=True):
        of_class[label] += weight
    return [weight / of_class[label] / len(of_class) for weight, label in zip(raw, labels, strict=True)]


def contrast_weights(labels: Sequence[int], wrong: Sequence[bool]) -> list[float]:
    halves = list(zip(labels, wrong, strict=True))
    size = Counter(halves)
    return [1 / size[half] / sum(other[0] == half[0] for other in size) / len(set(labels)) for half in halves]


def minority(labels: Sequence[int], cluster_ids: Sequence[int]) -> list[bool]:
    """Which samples are not of the most frequent class of their cluster; the lowest of several."""
    found = []
    for label, cluster in zip(labels, cluster_ids, strict=True):
        counts = Counter(y for y, c in zip(labels, cluster_ids, strict=True) if c == cluster)
        most = min(y for y in counts if counts[y] == max(counts.values()))
        found.append(label != most)
    return found


def prototype_similarity(prototypes: Sequence[Sequence[float]], others: Sequence[Sequence[Sequence[float]]]) -> float:
    means = []
    for label, prototype in enumerate(prototypes):
        products = [sum(a * b for a, b in zip(prototype, other[label], strict=True)) for other in others]
        means.append(sum(products) / (len(others) + 1))
    return abs(sum(means) / len(means))


def prototype_logits(
    representation: Sequence[float], prototypes: Sequence[Sequence[Sequence[float]]], scales: Sequence[float]
) -> list[float]:
    """Logarithms of the mean over the members of their class probabilities."""
    mean = sum(representation) / len(representation)
    direction = unit([value - mean for value in representation])
    probabilities = []
    for member, scale in zip(prototypes, scales, strict=True):
        weights = [math.exp(-abs(scale) * math.dist(direction, unit(prototype))) for prototype in member]
        probabilities.append([weight / sum(weights) for weight in weights])
    return [math.log(sum(p) / len(p)) for p in zip(*probabilities, strict=True)]


def unit(vector: Sequence[float]) -> list[float]:
    length = math.sqrt(sum(value**2 for value in vector))
    return [value / length for value in vector]
