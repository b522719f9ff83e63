"""Clusters as pseudo-attribute: cosine k-means on the representations of all classes together."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from torch import Tensor
from torch.nn import functional as F

from prusc.config import ClusteringConfig
from prusc.data.rows import StoredRows, find_not_finite, iterate_blocks, map_blocks
from prusc.engine.display import describe_with_table
from prusc.engine.runtime import stage_generator
from prusc.errors import DataError
from prusc.losses.unit_rows import unit_rows
from prusc.stages.representations import Representations

Structure = Literal["strong", "reasonable", "weak", "untrained", "predicted"]


@dataclass(frozen=True)
class ClusterCountTrial:
    """Quality of the clusters for one value of K.

    Attributes:
        num_clusters: K.
        silhouette: Mean cosine silhouette in [-1, 1], on a random subset; ``None`` if it is not defined.
        inertia: Mean squared distance to the nearest centre on the unit sphere.
    """

    num_clusters: int
    silhouette: float | None
    inertia: float


@dataclass(frozen=True, eq=False, repr=False)
class Clustering:
    """Clusters of samples and their centres, which can assign further samples.

    Attributes:
        cluster_ids: Cluster of each clustered sample, in ``[0, num_clusters)``.
        centres: Unit vectors.
        trials: One entry per number of clusters that was tried.
        structure: How well clusters are separated when there are more of them than classes, in the terms of Kaufman and
            Rousseeuw. ``untrained`` if the clustered network had not learned the classes yet; then the clusters cut
            across the classes at any separation. ``predicted`` if a value is a class that a biased model predicts.
        margins: Margin of each clustered sample; see `measure_margins`.
    """

    cluster_ids: Int[Tensor, " samples"]
    centres: Float[Tensor, "clusters dim"]
    trials: tuple[ClusterCountTrial, ...]
    structure: Structure
    margins: Float[Tensor, " samples"]

    def __repr__(self) -> str:
        return (
            f"Clustering({self.num_clusters} clusters of {len(self.cluster_ids)} samples, "
            f"{describe_structure(self.structure)})"
        )

    def _repr_html_(self) -> str:
        return describe_with_table(self, pd.DataFrame([vars(trial) for trial in self.trials]))

    @property
    def num_clusters(self) -> int:
        """Number of clusters."""
        return len(self.centres)

    def assign(self, representations: Float[Tensor, "others dim"] | StoredRows) -> Int[Tensor, " others"]:
        """Return the nearest centre of each representation, by cosine similarity."""
        return nearest_centres(representations, self.centres)

    def similarities(
        self, representations: Float[Tensor, "others dim"] | StoredRows, cluster_ids: Int[Tensor, " others"]
    ) -> Float[Tensor, " others"]:
        """Return the cosine similarity of each representation to the centre of its cluster: how typical it is."""
        found = torch.empty(len(cluster_ids))
        for here, block in iterate_blocks(representations):
            found[here] = (unit_rows(block) * self.centres[cluster_ids[here]]).sum(dim=1)
        return found

    def measure_margins(
        self, representations: Float[Tensor, "others dim"] | StoredRows, cluster_ids: Int[Tensor, " others"]
    ) -> Float[Tensor, " others"]:
        """Return each sample's similarity to its own centre, minus the similarity to the nearest other centre.

        A margin near 0 means that the sample lies at the border between two clusters. With given cluster ids a margin
        can be negative: another centre is nearer. With a single cluster all margins are 0.
        """
        return measure_margins(representations, cluster_ids, self.centres)


def cluster_representations(
    representations: Representations | Float[Tensor, "samples dim"] | StoredRows,
    config: ClusteringConfig | None = None,
    *,
    num_classes: int | None = None,
    generator: torch.Generator | None = None,
    option: str = "clustering.num_clusters",
) -> Clustering:
    """Cluster representations by cosine similarity.

    k-means is fitted on `ClusteringConfig.fit_samples` of them. All get the nearest centre, block by block, so their
    number has no limit.

    Args:
        representations: Any scale, because only directions matter.
        config: K, or the candidates for K; the defaults if ``None``.
        num_classes: Number of classes. Up to this many clusters can be separated by class alone, so they are no
            evidence of further structure. ``None``: the number of logits, or 1 for a tensor.
        generator: Source of the starts of k-means; seed 0 if ``None``.
        option: Setting that an error message recommends to lower.

    Returns:
        The clustering for the given or chosen K.

    Raises:
        DataError: If there are fewer distinct directions than clusters, or a number is not finite.

    References:
        Kaufman and Rousseeuw 1990, "Finding Groups in Data": thresholds of the silhouette.

    Example:
        >>> import torch, prusc
        >>> angles = torch.tensor([0.0, 0.1, 1.5, 1.6])
        >>> values = torch.stack([angles.cos(), angles.sin()], dim=1)
        >>> found = prusc.cluster_representations(values, prusc.config.ClusteringConfig(num_clusters=2))
        >>> bool(found.cluster_ids[0] == found.cluster_ids[1] != found.cluster_ids[2])
        True
    """
    config, generator = config or ClusteringConfig(), generator or stage_generator(0, "clustering")
    if isinstance(representations, Representations):
        num_classes = representations.logits.shape[1] if num_classes is None else num_classes
        representations = representations.values
    num_classes = num_classes or 1
    bad = find_not_finite(representations)
    if bool(bad.any()):
        raise DataError(
            f"representations of {int(bad.sum())} of {len(bad)} samples are not finite, the first is number "
            f"{int(bad.nonzero()[0, 0])}; expected finite numbers: check the network's weights"
        )
    drawn = torch.randperm(len(representations), generator=generator)[: config.fit_samples]
    unit = unit_rows(representations[drawn.sort().values]).numpy()
    # Directions that differ only by rounding would give k-means empty clusters.
    num_distinct = len(np.unique(unit.round(6), axis=0))
    given = config.num_clusters
    wanted = config.candidates if given is None else (given,)
    possible = [k for k in wanted if k <= num_distinct]
    if not possible:
        raise DataError(
            f"clustering into {min(wanted)} clusters needs as many distinct representations; {len(unit)} samples have "
            f"{num_distinct}: lower {option}, or check whether the network maps all images to one point"
        )
    if given is not None:
        # The structure belongs to the representations, so it must not depend on the given K.
        possible += [k for k in config.candidates if k <= num_distinct and k != given]
    seed = int(torch.randint(2**31 - 1, (1,), generator=generator))
    order = torch.randperm(len(unit), generator=generator)[: config.silhouette_samples].numpy()
    found: dict[int, KMeans] = {}
    trials: list[ClusterCountTrial] = []
    for k in possible:
        # On the unit sphere the squared Euclidean distance is 2 - 2 cos, so plain k-means is cosine k-means.
        fitted = KMeans(k, n_init=config.num_restarts, random_state=seed).fit(unit)
        sample_ids = fitted.labels_[order]
        silhouette = None
        if len(order) > len(np.unique(sample_ids)) >= 2:
            silhouette = float(silhouette_score(unit[order], sample_ids, metric="cosine"))
        found[k] = fitted
        trials.append(ClusterCountTrial(k, silhouette, float(fitted.inertia_) / len(unit)))
    beyond_classes = [trial for trial in trials if trial.num_clusters > num_classes] or trials
    structure = _name_structure(max(map(_silhouette_or_less, beyond_classes)), config)
    # Without strong structure, many small clusters are more likely to isolate a shortcut.
    # Fewer clusters than classes would merge classes whose shortcuts differ.
    enough = [trial for trial in trials if trial.num_clusters >= num_classes] or trials
    best = max(enough, key=_silhouette_or_less).num_clusters if structure == "strong" else max(possible)
    chosen = given or best
    centres = F.normalize(torch.from_numpy(found[chosen].cluster_centers_), dim=1).float()
    cluster_ids, margins = place_rows(representations, centres)
    return Clustering(cluster_ids, centres, tuple(trials), structure, margins)


def describe_structure(structure: str) -> str:
    """Return the structure of clusters in words."""
    others = {"untrained": "clusters of the untrained network", "predicted": "predictions of a biased model"}
    return others.get(structure, f"{structure} structure")


def _silhouette_or_less(trial: ClusterCountTrial) -> float:
    return -2.0 if trial.silhouette is None else trial.silhouette


def _name_structure(silhouette: float, config: ClusteringConfig) -> Structure:
    if silhouette >= config.strong_silhouette:
        return "strong"
    return "reasonable" if silhouette >= config.weak_silhouette else "weak"


def nearest_centres(
    representations: Float[Tensor, "samples dim"] | StoredRows, centres: Float[Tensor, "clusters dim"]
) -> Int[Tensor, " samples"]:
    """Return the nearest centre of each representation, by cosine similarity."""
    return map_blocks(lambda block: (unit_rows(block) @ centres.T).argmax(dim=1), representations)


def place_rows(
    representations: Float[Tensor, "samples dim"] | StoredRows, centres: Float[Tensor, "clusters dim"]
) -> tuple[Int[Tensor, " samples"], Float[Tensor, " samples"]]:
    """Return the nearest centre of each representation, and its margin, in one pass."""
    cluster_ids, margins = torch.empty(len(representations), dtype=torch.long), torch.empty(len(representations))
    for here, block in iterate_blocks(representations):
        similarities = unit_rows(block) @ centres.T
        cluster_ids[here] = similarities.argmax(dim=1)
        margins[here] = _margins(similarities, cluster_ids[here])
    return cluster_ids, margins


def measure_margins(
    representations: Float[Tensor, "samples dim"] | StoredRows,
    cluster_ids: Int[Tensor, " samples"],
    centres: Float[Tensor, "clusters dim"],
) -> Float[Tensor, " samples"]:
    """Return the margin of each representation; see `Clustering.measure_margins`."""
    margins = torch.empty(len(cluster_ids))
    for here, block in iterate_blocks(representations):
        margins[here] = _margins(unit_rows(block) @ centres.T, cluster_ids[here])
    return margins


def _margins(similarities: Tensor, cluster_ids: Tensor) -> Tensor:
    if similarities.shape[1] == 1:
        return torch.zeros(len(cluster_ids))
    own = cluster_ids.unsqueeze(1)
    others = similarities.scatter(1, own, -torch.inf)
    return similarities.gather(1, own).squeeze(1) - others.max(dim=1).values
