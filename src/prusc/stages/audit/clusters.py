"""Is there a shortcut: which clusters stand apart, hold samples of another class, and fail on them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from sklearn.metrics import adjusted_mutual_info_score, silhouette_samples
from torch import Tensor
from torch.nn import functional as F

from prusc.config import AuditConfig
from prusc.stages.cells import Cells
from prusc.stages.evaluation import wilson_interval
from prusc.stages.pseudo_attributes.attribute import PseudoAttribute
from prusc.stages.pseudo_attributes.clustering import Structure

AuditVerdict = Literal["suspected", "unclear", "not-found"]

AUDIT_TEXTS: dict[AuditVerdict, str] = {
    "suspected": (
        "clusters that its errors do not explain (they stand far apart, or were there before it learned the classes) "
        "cut across the classes, and the network fails on the classes that are few in them: look at the images of the "
        "first suspects"
    ),
    "unclear": (
        "the network fails on the classes that are few in some clusters, but the clusters do not stand far apart: hard "
        "images, or a shortcut that is not the main thing the network sees"
    ),
    "not-found": "no shortcut found: what the network fails on is not set apart by its clusters",
}


@dataclass(frozen=True)
class ClusterAudit:
    """One cluster: whose it is, who else lies in it, and how the network serves them.

    Attributes:
        cluster: Its number.
        main_label: The class that most of its samples have; of a network that had yet to learn the classes, the one of
            which the cluster holds the largest share.
        class_counts: Samples of each class.
        accuracy: Share of right predictions in [0, 1], over all its samples.
        ci95: Its 95 % Wilson interval.
        silhouette: Mean cosine silhouette of its samples in [-1, 1]: how far it stands apart. ``None`` if it was not
            computed.
        num_others: Samples of the other classes.
        others_accuracy: Theirs; ``None`` if there are none.
        others_ci95: Its 95 % Wilson interval.
        loss: By how much their accuracy is lower than that of the same classes where they are the main class; ``None``
            if they are the main class nowhere.
        loss_ci95: Its 95 % interval.
        p_value: Chance of a loss as striking, in any cluster, if within each class accuracy had nothing to do with the
            cluster.
        is_suspect: Whether it has enough others and its p-value is significant.
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
        """How good a shortcut it makes: the share of its main class, times the loss of those it is wrong for."""
        return self.class_counts[self.main_label] / sum(self.class_counts) * (self.loss or 0.0)


@dataclass(frozen=True)
class Agreement:
    """How far the clusters follow something.

    Attributes:
        name: What: ``class``, or the name of an attribute.
        adjusted_mutual_information: 0 if no more than by chance, 1 if the clusters are the same as its values.
        purity: Share of the samples that have their cluster's most frequent value.
    """

    name: str
    adjusted_mutual_information: float
    purity: float


@dataclass(frozen=True, eq=False)
class Audit:
    """What the clusters of a network say about shortcuts.

    Attributes:
        verdict: With a suspect it goes by the structure: ``suspected`` if that is strong, ``unclear`` if reasonable;
            ``not-found`` if it is weak or there is no suspect. Clusters of a network that had yet to learn the classes
            need no structure: with a suspect it is ``suspected``.
        structure: How far clusters stand apart that are more than the classes.
        clusters: All of them that have samples, suspects first; see `ClusterAudit.rank`.
        cluster_ids: Cluster of each sample.
        similarities: Of each sample to the centre of its cluster: how typical it is.
    """

    verdict: AuditVerdict
    structure: Structure
    clusters: tuple[ClusterAudit, ...]
    cluster_ids: Int[Tensor, " samples"]
    similarities: Float[Tensor, " samples"]


def audit_clusters(
    representations: Float[Tensor, "samples dim"],
    predictions: Int[Tensor, " samples"],
    cells: Cells,
    attribute: PseudoAttribute,
    config: AuditConfig,
    *,
    generator: torch.Generator,
) -> Audit:
    """Look for clusters that cut across the classes and on whose smaller classes the network fails.

    A test alone cannot tell a shortcut from a sample that is hard: clusters and predictions come from the same
    representation, so a sample among another class is mostly wrong in any network. The structure tells them apart:
    hard samples lie where the clusters run into each other, a shortcut makes clusters that stand apart. Clusters of a
    network that had yet to learn the classes are no mirror of the predictions, and the test alone decides.

    Args:
        representations: Of the validation split, by the network that was clustered.
        predictions: Of the ERM network.
        cells: Class and cluster of each sample.
        attribute: The clusters and how far they stand apart.
        config: Every setting.
        generator: Decides permutations and the samples of the silhouette.

    Returns:
        The audit.
    """
    judged = judge_clusters(predictions, cells, config, mirrors_network=attribute.mirrors_network, generator=generator)
    structure, cluster_ids = attribute.clustering.structure, cells.attribute_ids
    unit = F.normalize(representations, dim=1)
    silhouettes = _silhouettes(unit, cluster_ids, cells.num_values, config.silhouette_samples, generator)
    found = tuple(replace(cluster, silhouette=silhouettes[cluster.cluster]) for cluster in judged)
    verdict: AuditVerdict = "not-found"
    if any(cluster.is_suspect for cluster in found):
        by_structure: dict[Structure, AuditVerdict] = {
            "strong": "suspected",
            "reasonable": "unclear",
            "weak": "not-found",
            "untrained": "suspected",
        }
        verdict = by_structure[structure]
    return Audit(verdict, structure, found, cluster_ids, attribute.splits["val"].similarities)


def judge_clusters(
    predictions: Int[Tensor, " samples"],
    cells: Cells,
    config: AuditConfig,
    *,
    mirrors_network: bool = True,
    generator: torch.Generator,
) -> tuple[ClusterAudit, ...]:
    """Say of each cluster whether it is a suspect.

    Args:
        predictions: Of samples that the network was not trained on.
        cells: Class and cluster of each sample.
        config: Every setting.
        mirrors_network: Whether the clusters come from a network that has learned the classes. If not, they cut across
            the classes, and a rare class would be the main one of none.
        generator: Decides the permutations.

    Returns:
        All clusters that have samples, suspects first, see `ClusterAudit.rank`; without silhouettes.
    """
    labels, cluster_ids = cells.labels, cells.attribute_ids
    num_clusters, num_classes = cells.num_values, cells.num_classes
    right = predictions == labels
    counts = torch.zeros(num_clusters, num_classes, dtype=torch.long)
    counts.index_put_((cluster_ids, labels), torch.ones_like(labels), accumulate=True)
    main_labels = (counts if mirrors_network else counts / counts.sum(dim=0).clamp(min=1)).argmax(dim=1)
    is_other = main_labels[cluster_ids] != labels
    p_values = permutation_p_values(
        right, labels, cluster_ids, is_other, num_clusters, config.num_permutations, generator
    )
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


def permutation_p_values(
    right: Bool[Tensor, " samples"],
    labels: Int[Tensor, " samples"],
    cluster_ids: Int[Tensor, " samples"],
    is_other: Bool[Tensor, " samples"],
    num_clusters: int,
    num_permutations: int,
    generator: torch.Generator,
) -> Float[Tensor, " clusters"]:
    """Test whether the others of a cluster fail more than their classes do as a whole.

    What is right and what is wrong is shuffled within each class. The statistic is the number of others that are right,
    standardised; each cluster's is compared with the lowest of all clusters, so that the p-values hold for all of them
    together.

    Args:
        right: Whether each prediction is right.
        labels: Class of each sample.
        cluster_ids: Cluster of each sample.
        is_other: Whether the cluster is another class's.
        num_clusters: Number of clusters.
        num_permutations: How often to shuffle, at least 1.
        generator: Decides the shuffles.

    Returns:
        One p-value per cluster, at least 1 / (permutations + 1); 1 for a cluster without others.

    References:
        Westfall and Young 1993, "Resampling-Based Multiple Testing", for the lowest of all.
    """
    mean, variance = torch.zeros(2, num_clusters, dtype=torch.float64)
    others = {}
    for label in labels.unique().tolist():
        members = labels == label
        share, size = right[members].double().mean(), int(members.sum())
        others[label] = cluster_ids[members & is_other], members
        num = torch.bincount(others[label][0], minlength=num_clusters).double()
        # Drawing without replacement: the hypergeometric distribution.
        mean += num * share
        variance += num * share * (1 - share) * (size - num) / max(size - 1, 1)

    def statistics(values: Bool[Tensor, " samples"], *, shuffle: bool) -> Tensor:
        sums = torch.zeros(num_clusters, dtype=torch.float64)
        for ids, members in others.values():
            own = values[members]
            chosen = torch.randperm(len(own), generator=generator)[: len(ids)] if shuffle else is_other[members]
            sums.index_add_(0, ids, own[chosen].double())
        return torch.where(variance > 0, (sums - mean) / variance.clamp(min=1e-12).sqrt(), 0.0)

    observed = statistics(right, shuffle=False)
    lowest = torch.stack([statistics(right, shuffle=True).min() for _ in range(num_permutations)])
    exceeded = (lowest[:, None] <= observed[None, :] + 1e-9).sum(dim=0)
    p_values = (1 + exceeded.double()) / (1 + num_permutations)
    return torch.where(variance > 0, p_values, 1.0)


def measure_agreement(name: str, values: Int[Tensor, " samples"], cluster_ids: Int[Tensor, " samples"]) -> Agreement:
    """Say how far the clusters follow the classes or an attribute.

    Args:
        name: What the values are.
        values: Class of each sample, or its value of the attribute.
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
    unit: Tensor, cluster_ids: Tensor, num_clusters: int, num_samples: int, generator: torch.Generator
) -> Sequence[float | None]:
    chosen = torch.randperm(len(unit), generator=generator)[:num_samples]
    ids = cluster_ids[chosen]
    num_distinct = len(ids.unique())
    if not len(chosen) > num_distinct >= 2:
        return [None] * num_clusters
    values = torch.from_numpy(silhouette_samples(unit[chosen].double().numpy(), ids.numpy(), metric="cosine"))
    return [values[ids == k].mean().item() if bool((ids == k).any()) else None for k in range(num_clusters)]


def _loss(
    right: Tensor, labels: Tensor, others: Tensor, is_other: Tensor, num_classes: int
) -> tuple[float | None, tuple[float, float] | None]:
    """Return how much lower the accuracy of some samples is than that of their classes at home, with its interval."""
    num = torch.bincount(labels[others], minlength=num_classes).double()
    at_home = torch.bincount(labels[~is_other], minlength=num_classes).double()
    if not bool(others.any()) or bool((at_home[num > 0] == 0).any()):
        return None, None
    right_at_home = torch.bincount(labels[~is_other & right], minlength=num_classes).double()
    shares = num / num.sum()
    home = (shares * right_at_home / at_home.clamp(min=1)).sum().item()
    # As many samples of one class would say as much.
    num_home = 1 / (shares.square() / at_home.clamp(min=1)).sum().item()
    num_others, num_right = int(others.sum()), int(right[others].sum())
    here = num_right / num_others
    low_here, high_here = wilson_interval(num_right, num_others)
    low_home, high_home = wilson_interval(home * num_home, num_home)
    # Newcombe 1998, Statistics in Medicine 17, 873-890, method 10: from the intervals of the two.
    low = home - here - ((home - low_home) ** 2 + (high_here - here) ** 2) ** 0.5
    high = home - here + ((high_home - home) ** 2 + (here - low_here) ** 2) ** 0.5
    return home - here, (low, high)
