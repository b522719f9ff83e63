"""Stage 3: cosine k-means over the representations of all classes together."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from torch import Tensor
from torch.nn import functional as F

from prusc.config import ClusteringConfig
from prusc.errors import DataError


@dataclass(frozen=True)
class ClusterCountTrial:
    """What one number of clusters gave.

    Attributes:
        num_clusters: K.
        silhouette: Mean cosine silhouette in [-1, 1], on a sample; ``None`` if it was not computed.
        inertia: Mean squared distance to the nearest centre on the unit sphere.
    """

    num_clusters: int
    silhouette: float | None
    inertia: float


@dataclass(frozen=True, eq=False)
class Clustering:
    """Clusters and their centres, which also assign samples that were not clustered.

    Attributes:
        cluster_ids: Cluster of each clustered sample, in ``[0, num_clusters)``.
        centres: Unit vectors.
        trials: The figures of every number of clusters that was tried.
        is_distinct: Whether the clusters stand apart enough to say something beyond the class.
    """

    cluster_ids: Int[Tensor, " samples"]
    centres: Float[Tensor, "clusters dim"]
    trials: tuple[ClusterCountTrial, ...]
    is_distinct: bool

    @property
    def num_clusters(self) -> int:
        """How many clusters there are."""
        return len(self.centres)

    def assign(self, representations: Float[Tensor, "others dim"]) -> Int[Tensor, " others"]:
        """Return the nearest centre, by cosine similarity, of each representation."""
        return (F.normalize(representations, dim=1) @ self.centres.T).argmax(dim=1)


def cluster_representations(
    representations: Float[Tensor, "samples dim"], config: ClusteringConfig, *, generator: torch.Generator
) -> Clustering:
    """Cluster representations by their direction.

    Args:
        representations: Any scale; zero vectors have no direction and are refused if there are no others.
        config: K, and the candidates for it.
        generator: Decides the starts.

    Returns:
        The clustering of the given or chosen K.

    Raises:
        DataError: If there are fewer distinct directions than clusters.
    """
    unit = F.normalize(representations.double(), dim=1).numpy()
    # Directions that differ in the last digits only would give k-means empty clusters.
    num_distinct = len(np.unique(unit.round(6), axis=0))
    given = config.num_clusters
    wanted = config.candidates if given is None else (given,)
    possible = [k for k in wanted if k <= num_distinct]
    if not possible:
        raise DataError(
            f"clustering into {min(wanted)} clusters needs as many distinct representations; {len(unit)} samples have "
            f"{num_distinct}: lower clustering.num_clusters, or look for a network that maps all images to one point"
        )
    if given is not None:
        # Whether anything stands apart is a property of the representations, not of the K that somebody asks for.
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
    best = max(trials, key=_silhouette_or_less)
    is_distinct = _silhouette_or_less(best) >= config.min_silhouette
    # Where nothing stands apart, many small clusters are the safer way to find what differs.
    chosen = given or (best.num_clusters if is_distinct else max(possible))
    centres = F.normalize(torch.from_numpy(found[chosen].cluster_centers_), dim=1).float()
    clustering = Clustering(torch.empty(0, dtype=torch.long), centres, tuple(trials), is_distinct)
    return replace(clustering, cluster_ids=clustering.assign(representations))


def _silhouette_or_less(trial: ClusterCountTrial) -> float:
    return -2.0 if trial.silhouette is None else trial.silhouette


def given_clustering(representations: Float[Tensor, "samples dim"], cluster_ids: Int[Tensor, " samples"]) -> Clustering:
    """Make a clustering from cluster ids that come from elsewhere; a cluster's centre is its mean direction.

    Args:
        representations: Of the samples, any scale.
        cluster_ids: Cluster of each sample, at least 0; ids that nobody has are closed up.

    Returns:
        The clustering, taken as distinct; its ids are those given, closed up.
    """
    distinct, closed = cluster_ids.unique(return_inverse=True)
    unit = F.normalize(representations, dim=1)
    centres = torch.zeros(len(distinct), unit.shape[1]).index_add_(0, closed, unit)
    return Clustering(closed, F.normalize(centres, dim=1), (), is_distinct=True)
