"""The audit of clusters: which ones are well separated, hold other classes, and fail on these."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from scipy.stats import fisher_exact
from sklearn.metrics import adjusted_mutual_info_score, silhouette_samples
from torch import Tensor
from torch.nn import functional as F

from prusc.config import AuditConfig
from prusc.data.rows import StoredRows
from prusc.losses.unit_rows import unit_rows
from prusc.stages.cells import Cells
from prusc.stages.evaluation import accuracy_loss, wilson_interval
from prusc.stages.pseudo_attributes.attribute import PseudoAttribute
from prusc.stages.pseudo_attributes.clustering import Structure

# Samples times permutations in memory at a time.
_DRAWS_AT_ONCE = 1_000_000

AuditVerdict = Literal["suspected", "unclear", "undecided", "not-found"]

AUDIT_TEXTS: dict[AuditVerdict, str] = {
    "suspected": (
        "the network fails on samples that conflict with some value of the pseudo-attribute; a shortcut explains this, "
        "and so may samples that are hard for any network; look at those of the first suspects"
    ),
    "unclear": (
        "the network fails on the minority classes of some clusters, but the clusters are not well separated: these "
        "may be hard images, or a shortcut that is not the main feature of the representations"
    ),
    "undecided": (
        "no value of the pseudo-attribute is suspect, but so few samples conflict with it that only a huge loss could "
        "have been seen; more validation samples are needed, most of all such that contradict what you suspect"
    ),
    "not-found": (
        "the network fails on the conflicting samples of no value of the pseudo-attribute; a shortcut that these data "
        "do not contradict, or that the pseudo-attribute does not follow, may remain"
    ),
}

# A loss above this is so large that missing smaller ones decides nothing.
_LARGE_LOSS = 0.3


@dataclass(frozen=True)
class ClusterAudit:
    """One cluster: its main class, the other classes in it, and the accuracies on them.

    Attributes:
        cluster: Its number.
        main_label: The most frequent class in it. If the clustered network had not learned the classes yet, the class
            of which it holds the largest share.
        class_counts: Samples of each class.
        accuracy: Accuracy in [0, 1] over all its samples.
        ci95: Its 95 % Wilson interval.
        silhouette: Mean cosine silhouette of its samples in [-1, 1]: how well it is separated. ``None`` if it is not
            defined.
        num_others: Number of samples of other classes.
        others_accuracy: Accuracy on them; ``None`` if there are none.
        others_ci95: Its 95 % Wilson interval.
        loss: How much lower that is than the accuracy of the same classes in clusters where they are the main class.
            ``None`` if one of them is the main class of no cluster, or there are no others.
        loss_ci95: Its 95 % interval.
        p_value: Probability of a loss this extreme in any cluster, if accuracy within each class did not depend on the
            cluster.
        is_suspect: Whether it has enough samples of other classes and a significant p-value.
    """

    cluster: int
    main_label: int
    class_counts: tuple[int, ...]
    accuracy: float
    ci95: tuple[float, float]
    silhouette: float | None
    num_others: int
    others_accuracy: float | None
    others_ci95: tuple[float, float] | None
    loss: float | None
    loss_ci95: tuple[float, float] | None
    p_value: float
    is_suspect: bool

    @property
    def rank(self) -> float:
        """Rank among suspects: the share of its main class times the loss."""
        return self.class_counts[self.main_label] / sum(self.class_counts) * (self.loss or 0.0)


@dataclass(frozen=True)
class Agreement:
    """Agreement of the clusters with the classes or an attribute.

    Attributes:
        name: ``class``, or the name of an attribute.
        adjusted_mutual_information: 0 if the agreement is chance, 1 if clusters and values are the same.
        purity: Share of samples that have the most frequent value of their cluster.
    """

    name: str
    adjusted_mutual_information: float
    purity: float


@dataclass(frozen=True, eq=False)
class Audit:
    """Result of the audit of a network's clusters.

    Attributes:
        verdict: With a suspect ``suspected``, or ``unclear`` if clusters of a network that had learned the classes are
            not well separated. Without one ``not-found``, or ``undecided`` if only a huge loss could have been seen.
        smallest_loss: The smallest loss that the test would have found in some cluster with a probability of 80 %.
            ``None`` if no cluster has a sample of another class.
        structure: How well the clusters are separated when there are more of them than classes.
        clusters: All non-empty clusters, suspects first; see `ClusterAudit.rank`.
        cluster_ids: Cluster of each sample.
        similarities: Cosine similarity of each sample to the centre of its cluster: how typical it is.
    """

    verdict: AuditVerdict
    smallest_loss: float | None
    structure: Structure
    clusters: tuple[ClusterAudit, ...]
    cluster_ids: Int[Tensor, " samples"]
    similarities: Float[Tensor, " samples"]


def audit_clusters(
    representations: Float[Tensor, "samples dim"] | StoredRows,
    predictions: Int[Tensor, " samples"],
    cells: Cells,
    attribute: PseudoAttribute,
    config: AuditConfig,
    *,
    generator: torch.Generator,
) -> Audit:
    """Find clusters that cut across the classes and on whose minority classes the network fails.

    A test alone cannot tell a shortcut from hard samples. If clusters and predictions come from the same
    representations, a sample in a cluster of another class is mostly wrong in any network. The structure distinguishes
    the two: hard samples lie where clusters overlap, and a shortcut makes clusters that are well separated. Values that
    were inferred before the network learned the classes do not follow its predictions, so there the test decides.

    Args:
        representations: Representations of the validation split by the clustered network.
        predictions: Predictions of the ERM network.
        cells: Class and cluster of each sample.
        attribute: The clusters and their structure.
        config: Settings of the audit.
        generator: Source of the permutations and of the subset for the silhouette.

    Returns:
        The audit.
    """
    judged = judge_clusters(predictions, cells, config, mirrors_network=attribute.mirrors_network, generator=generator)
    structure, cluster_ids = attribute.clustering.structure, cells.attribute_ids
    silhouettes = _silhouettes(representations, cluster_ids, cells.num_values, config.silhouette_samples, generator)
    found = tuple(replace(cluster, silhouette=silhouettes[cluster.cluster]) for cluster in judged)
    smallest = smallest_visible_loss(found, predictions == cells.labels, cells.labels, config.significance)
    if any(cluster.is_suspect for cluster in found):
        verdict: AuditVerdict = "unclear" if structure in ("reasonable", "weak") else "suspected"
    else:
        verdict = "undecided" if smallest is None or smallest > _LARGE_LOSS else "not-found"
    return Audit(verdict, smallest, structure, found, cluster_ids, attribute.splits["val"].similarities)


def smallest_visible_loss(
    clusters: Sequence[ClusterAudit],
    right: Bool[Tensor, " samples"],
    labels: Int[Tensor, " samples"],
    significance: float,
) -> float | None:
    """Return the smallest loss that the test would have found in some cluster with a probability of 80 %.

    The normal approximation is used, with Bonferroni's correction for the number of clusters.

    Args:
        clusters: All non-empty clusters.
        right: Whether each prediction is right.
        labels: Class of each sample.
        significance: Level of the test.

    Returns:
        A loss in [0, 1]; ``None`` if no cluster has a sample of another class.
    """
    with_others = [cluster for cluster in clusters if cluster.num_others]
    if not with_others:
        return None
    normal = NormalDist()
    factor = normal.inv_cdf(1 - significance / len(with_others)) + normal.inv_cdf(0.8)
    accuracies = {int(label): right[labels == label].double().mean().item() for label in labels.unique()}
    losses = []
    for cluster in with_others:
        others = {y: n for y, n in enumerate(cluster.class_counts) if n and y != cluster.main_label}
        # At least as if one sample were wrong, because a class without mistakes has no variance.
        variance = sum(n * max(a * (1 - a), 1 / n) for y, n in others.items() for a in [accuracies[y]])
        losses.append(float(factor * variance**0.5 / cluster.num_others))
    return min(1.0, *losses)


def judge_clusters(
    predictions: Int[Tensor, " samples"],
    cells: Cells,
    config: AuditConfig,
    *,
    mirrors_network: bool = True,
    generator: torch.Generator,
) -> tuple[ClusterAudit, ...]:
    """Decide for each cluster whether it is a suspect.

    Args:
        predictions: Predictions for samples that the network was not trained on.
        cells: Class and cluster of each sample.
        config: Settings of the audit.
        mirrors_network: Whether the clustered network had learned the classes. If not, clusters cut across the classes,
            and a rare class would be the most frequent one in no cluster.
        generator: Source of the permutations.

    Returns:
        All non-empty clusters, suspects first (see `ClusterAudit.rank`), without silhouettes.
    """
    labels, cluster_ids = cells.labels, cells.attribute_ids
    num_clusters, num_classes = cells.num_values, cells.num_classes
    right = predictions == labels
    counts = torch.zeros(num_clusters, num_classes, dtype=torch.long)
    counts.index_put_((cluster_ids, labels), torch.ones_like(labels), accumulate=True)
    main_labels = (counts if mirrors_network else counts / counts.sum(dim=0).clamp(min=1)).argmax(dim=1)
    is_other = main_labels[cluster_ids] != labels
    p_values = cluster_p_values(right, labels, cluster_ids, is_other, num_clusters, config.num_permutations, generator)
    found = []
    for cluster in cluster_ids.unique().tolist():
        inside = cluster_ids == cluster
        others = inside & is_other
        num_others, p_value = int(others.sum()), p_values[cluster].item()
        loss, loss_ci95 = _loss(right, labels, others, is_other, num_classes)
        found.append(
            ClusterAudit(
                cluster=cluster,
                main_label=int(main_labels[cluster]),
                class_counts=tuple(counts[cluster].tolist()),
                accuracy=right[inside].double().mean().item(),
                ci95=wilson_interval(int(right[inside].sum()), int(inside.sum())),
                silhouette=None,
                num_others=num_others,
                others_accuracy=right[others].double().mean().item() if num_others else None,
                others_ci95=wilson_interval(int(right[others].sum()), num_others) if num_others else None,
                loss=loss,
                loss_ci95=loss_ci95,
                p_value=p_value,
                is_suspect=num_others >= config.min_others and p_value <= config.significance,
            )
        )
    return tuple(sorted(found, key=lambda cluster: (not cluster.is_suspect, -cluster.rank)))


def cluster_p_values(
    right: Bool[Tensor, " samples"],
    labels: Int[Tensor, " samples"],
    cluster_ids: Int[Tensor, " samples"],
    is_other: Bool[Tensor, " samples"],
    num_clusters: int,
    num_permutations: int,
    generator: torch.Generator,
) -> Float[Tensor, " clusters"]:
    """Test whether a network fails more on the other classes of a cluster than on these classes as a whole.

    The permutations shuffle right and wrong within each class. The statistic of a cluster is the standardised number of
    right predictions for its samples of other classes. It is compared with the lowest statistic over all clusters of
    each permutation, so the p-values are corrected for the number of clusters.

    Args:
        right: Whether each prediction is right.
        labels: Class of each sample.
        cluster_ids: Cluster of each sample.
        is_other: Whether the class of a sample is not the main class of its cluster.
        num_clusters: Number of clusters.
        num_permutations: Number of permutations, at least 1.
        generator: Source of the permutations.

    Returns:
        One p-value per cluster, at least 1 / (permutations + 1); 1 for a cluster without other classes.

    References:
        Westfall and Young 1993, "Resampling-Based Multiple Testing": the correction for many clusters.
    """
    mean, variance = torch.zeros(2, num_clusters, dtype=torch.float64)
    observed_sums, classes = torch.zeros(num_clusters, dtype=torch.float64), []
    for label in labels.unique().tolist():
        members = labels == label
        own, chosen = right[members].double(), is_other[members]
        in_cluster = F.one_hot(cluster_ids[members][chosen], num_clusters).double()
        share, size, num = own.mean(), len(own), in_cluster.sum(dim=0)
        # Draws without replacement have the hypergeometric distribution.
        mean += num * share
        variance += num * share * (1 - share) * (size - num) / max(size - 1, 1)
        observed_sums += own[chosen] @ in_cluster
        classes.append((own, in_cluster))

    def standardise(sums: Tensor) -> Tensor:
        return torch.where(variance > 0, (sums - mean) / variance.clamp(min=1e-12).sqrt(), 0.0)

    def shuffle(num: int) -> Tensor:
        """Sums of so many permutations: permutation x cluster."""
        orders = [torch.empty(num, len(in_cluster), dtype=torch.long) for _, in_cluster in classes]
        for permutation in range(num):
            for (own, _), order in zip(classes, orders, strict=True):
                order[permutation] = torch.randperm(len(own), generator=generator)[: order.shape[1]]
        sums = torch.zeros(num, num_clusters, dtype=torch.float64)
        for (own, in_cluster), order in zip(classes, orders, strict=True):
            sums += own[order] @ in_cluster
        return sums

    observed = standardise(observed_sums)
    at_once = max(1, _DRAWS_AT_ONCE // len(labels))
    blocks = [min(at_once, num_permutations - start) for start in range(0, num_permutations, at_once)]
    lowest = torch.cat([standardise(shuffle(num)).amin(dim=1) for num in blocks])
    exceeded = (lowest[:, None] <= observed[None, :] + 1e-9).sum(dim=0)
    p_values = (1 + exceeded.double()) / (1 + num_permutations)
    return torch.where(variance > 0, p_values, 1.0)


def find_weak_classes(
    right: Bool[Tensor, " samples"], labels: Int[Tensor, " samples"], significance: float
) -> list[int]:
    """Return the classes whose accuracy is below that of the others by more than chance, the worst first.

    Args:
        right: Whether each prediction is right.
        labels: Class of each sample.
        significance: Level of the one-sided test, shared by all classes.

    References:
        Fisher 1922, Journal of the Royal Statistical Society 85, 87-94: the exact test.
    """
    found = []
    distinct = labels.unique().tolist()
    for label in distinct:
        own, others = right[labels == label], right[labels != label]
        if not len(others):
            continue
        table = [[int(values.sum()), int((~values).sum())] for values in (own, others)]
        if fisher_exact(table, alternative="less").pvalue <= significance / len(distinct):
            found.append((own.double().mean().item(), label))
    return [label for _, label in sorted(found)]


def measure_agreement(name: str, values: Int[Tensor, " samples"], cluster_ids: Int[Tensor, " samples"]) -> Agreement:
    """Measure the agreement of the clusters with the classes or an attribute.

    Args:
        name: ``class``, or the name of the attribute.
        values: Class or attribute value of each sample.
        cluster_ids: Cluster of each sample.
    """
    pairs, counts = torch.stack([cluster_ids, values], dim=1).unique(dim=0, return_counts=True)
    most = torch.zeros(int(cluster_ids.max()) + 1, dtype=torch.long)
    most.scatter_reduce_(0, pairs[:, 0], counts, reduce="amax")
    return Agreement(
        name=name,
        adjusted_mutual_information=float(adjusted_mutual_info_score(values.numpy(), cluster_ids.numpy())),
        purity=int(most.sum()) / len(values),
    )


def _silhouettes(
    representations: Tensor | StoredRows,
    cluster_ids: Tensor,
    num_clusters: int,
    num_samples: int,
    generator: torch.Generator,
) -> Sequence[float | None]:
    chosen = torch.randperm(len(representations), generator=generator)[:num_samples]
    ids = cluster_ids[chosen]
    num_distinct = len(ids.unique())
    if not len(chosen) > num_distinct >= 2:
        return [None] * num_clusters
    unit = unit_rows(representations[chosen]).double().numpy()
    values = torch.from_numpy(silhouette_samples(unit, ids.numpy(), metric="cosine"))
    return [values[ids == k].mean().item() if bool((ids == k).any()) else None for k in range(num_clusters)]


def _loss(
    right: Tensor, labels: Tensor, others: Tensor, is_other: Tensor, num_classes: int
) -> tuple[float | None, tuple[float, float] | None]:
    """Return how much lower the accuracy of ``others`` is than where their classes are the main class, and its CI."""
    is_at_home = torch.bincount(labels[~is_other], minlength=num_classes) > 0
    if not bool(others.any()) or not bool(is_at_home[labels[others]].all()):
        return None, None
    return accuracy_loss(right, labels, others, ~is_other)
