"""Cluster each class on its own, as SPARE and GEORGE do; the silhouette chooses the number of clusters."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ClassClusters:
    """Clusters of which none has samples of two classes.

    Attributes:
        cluster_ids: Cluster of each sample, in ``[0, num_clusters)``.
        num_clusters: Number of clusters of all classes together.
        silhouettes: Silhouette of each class, in [-1, 1]; 0 for a class of one cluster.
    """

    cluster_ids: Int[Tensor, " samples"]
    num_clusters: int
    silhouettes: Float[Tensor, " classes"]


def cluster_each_class(
    values: Float[Tensor, "samples dim"],
    labels: Int[Tensor, " samples"],
    *,
    num_classes: int,
    max_clusters: int,
    silhouette_samples: int,
    generator: torch.Generator,
) -> ClassClusters:
    """Cluster each class by Euclidean k-means, with the number of clusters that has the highest silhouette.

    Args:
        values: Vectors to cluster, such as probabilities or representations.
        labels: Class of each sample.
        num_classes: Number of classes.
        max_clusters: Largest number of clusters of a class; 1 leaves the classes whole.
        silhouette_samples: Number of samples of a class that the silhouette is computed on.
        generator: Source of the samples for the silhouette and of the seeds of k-means.

    Returns:
        The clusters. A class has at least two, unless it has fewer than three distinct values.
    """
    cluster_ids = torch.zeros(len(labels), dtype=torch.long)
    silhouettes = torch.zeros(num_classes)
    num_clusters = 0
    for label in range(num_classes):
        inside = (labels == label).nonzero().squeeze(1)
        if len(inside) == 0:
            continue
        own = values[inside].numpy()
        order = torch.randperm(len(own), generator=generator)[:silhouette_samples].numpy()
        seed = draw_seed(generator)
        best, found = np.zeros(len(own), dtype=np.int64), 0.0
        # A silhouette needs more samples than clusters.
        for k in range(2, min(max_clusters, len(np.unique(own[order], axis=0)) - 1) + 1):
            ids = KMeans(k, n_init=4, random_state=seed).fit_predict(own)
            if len(np.unique(ids[order])) < 2:
                continue
            silhouette = float(silhouette_score(own[order], ids[order]))
            if silhouette > found:
                best, found = ids.astype(np.int64), silhouette
        cluster_ids[inside] = torch.from_numpy(best) + num_clusters
        silhouettes[label] = found
        num_clusters += int(best.max()) + 1
    return ClassClusters(cluster_ids, num_clusters, silhouettes)


def draw_seed(generator: torch.Generator) -> int:
    """Draw a seed for scikit-learn, which takes no generator."""
    return int(torch.randint(2**31 - 1, (1,), generator=generator))
