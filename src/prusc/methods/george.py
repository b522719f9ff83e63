"""GEORGE: cluster the representations of each class, then train by GroupDRO with the clusters as groups."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_samples
from torch import Tensor

from prusc.config.checks import require
from prusc.methods.budget import identification_cost
from prusc.methods.class_clusters import ClassClusters, cluster_each_class, draw_seed
from prusc.methods.group_dro import fit_group_dro
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class GEORGESettings:
    """Settings of GEORGE.

    The paper reduces the representations by UMAP before it clusters them. Here they are clustered as they are, which
    needs no further dependency. Two principal components hid some of the groups of fashion-stickers.

    Attributes:
        identification_epochs: Epochs of the network whose representations are clustered; ``None`` takes the ERM
            network, as the paper does. Our ERM network memorises the training split and then hides the groups that it
            fails on. In fashion-stickers none of its clusters was one of bias-conflicting samples; the clusters of the
            first epoch held nearly all of these.
        max_clusters: Largest number of clusters of a class, before they are divided further.
        overclustering: Number of parts that each cluster is divided into; 1 divides none. A part becomes a cluster of
            its own if its silhouette is higher than that of the cluster.
        min_cluster_size: Smallest number of samples of such a part.
        step_size: Step size of GroupDRO.
        total_decay: Strength of the weight decay (see `MethodInputs.weight_decay`); that of ERM if ``None``.
    """

    identification_epochs: int | None = 1
    max_clusters: int = 10
    overclustering: int = 5
    min_cluster_size: int = 10
    step_size: float = 0.01
    total_decay: float | None = None

    def __post_init__(self) -> None:
        require_positive(self, "identification_epochs", "overclustering", "min_cluster_size", "step_size")
        require(self.max_clusters >= 2, "max_clusters", self.max_clusters, "at least 2")
        require_not_negative(self, "total_decay")


def divide_clusters(
    values: Float[Tensor, "samples dim"],
    cluster_ids: Int[Tensor, " samples"],
    *,
    num_parts: int,
    min_size: int,
    silhouette_sample: int,
    generator: torch.Generator,
) -> Int[Tensor, " samples"]:
    """Divide the clusters of one class further, where a part has a higher silhouette than its cluster.

    Args:
        values: Representations of the samples of one class.
        cluster_ids: Cluster of each sample.
        num_parts: Number of parts that k-means divides each cluster into.
        min_size: Parts with fewer samples stay with their cluster.
        silhouette_sample: Number of samples that the silhouettes are computed on.
        generator: Source of these samples and of the seeds of k-means.

    Returns:
        Cluster of each sample, numbered from 0. A part becomes a cluster if its mean silhouette among the parts is
        higher than that of its cluster among the clusters. The other parts of a cluster stay together.

    References:
        Sohoni et al. 2020, arXiv:2011.12945, "overclustering" in the appendix on clustering.
    """
    own, coarse = values.numpy(), cluster_ids.numpy()
    fine = coarse * num_parts
    for cluster in np.unique(coarse):
        inside = coarse == cluster
        k = min(num_parts, len(np.unique(own[inside], axis=0)))
        if k > 1:
            fine[inside] += KMeans(k, n_init=4, random_state=draw_seed(generator)).fit_predict(own[inside])
    order = torch.randperm(len(own), generator=generator)[:silhouette_sample].numpy()
    before, after = (_mean_silhouettes(own[order], ids[order]) for ids in (coarse, fine))
    # The rest of a cluster gets a number that none of its parts has.
    divided = coarse * (num_parts + 1) + num_parts
    for part, silhouette in after.items():
        cluster, inside = part // num_parts, fine == part
        if inside.sum() >= min_size and silhouette > before[cluster]:
            divided[inside] = cluster * (num_parts + 1) + part % num_parts
    closed: Tensor = torch.from_numpy(divided).unique(return_inverse=True)[1]
    return closed


def _mean_silhouettes(values: np.ndarray, ids: np.ndarray) -> dict[int, float]:
    """Return the mean silhouette of each cluster; 0 if silhouettes are not defined."""
    clusters = np.unique(ids)
    if not 2 <= len(clusters) < len(ids):
        return dict.fromkeys(clusters.tolist(), 0.0)
    silhouettes = silhouette_samples(values, ids)
    return {cluster: float(silhouettes[ids == cluster].mean()) for cluster in clusters.tolist()}


def _find_groups(inputs: MethodInputs, settings: GEORGESettings) -> ClassClusters:
    if settings.identification_epochs is None:
        seen = inputs.represent(inputs.trained, inputs.train)
    else:
        seen = inputs.early_view("GEORGE", settings.identification_epochs)
    values, labels = seen.held, inputs.train.labels
    generator, silhouette_sample = inputs.generator("clusters"), inputs.config.clustering.silhouette_samples
    found = cluster_each_class(
        values,
        labels,
        num_classes=inputs.num_classes,
        max_clusters=settings.max_clusters,
        silhouette_samples=silhouette_sample,
        generator=generator,
    )
    if settings.overclustering == 1:
        return found
    cluster_ids, num_clusters = torch.zeros_like(labels), 0
    for label in labels.unique():
        inside = labels == label
        ids = divide_clusters(
            values[inside],
            found.cluster_ids[inside] - found.cluster_ids[inside].min(),
            num_parts=settings.overclustering,
            min_size=settings.min_cluster_size,
            silhouette_sample=silhouette_sample,
            generator=generator,
        )
        cluster_ids[inside] = ids + num_clusters
        num_clusters += int(ids.max()) + 1
    return ClassClusters(cluster_ids, num_clusters, found.silhouettes)


def _train(inputs: MethodInputs, settings: GEORGESettings) -> Trained:
    groups = _find_groups(inputs, settings)
    network, weights = fit_group_dro(
        inputs,
        groups.cluster_ids,
        groups.num_clusters,
        "GEORGE",
        step_size=settings.step_size,
        total_decay=settings.total_decay,
    )
    sizes = torch.bincount(groups.cluster_ids)
    return Trained(
        network,
        facts={
            "num_clusters": groups.num_clusters,
            "smallest_cluster": int(sizes.min()),
            "largest_group_weight": weights.max().item(),
        },
    )


GEORGE = TrainedMethod(
    name="george",
    title="GEORGE",
    paper="Sohoni et al. 2020, arXiv:2011.12945",
    group_labels="none",
    train=_train,
    settings=(
        GEORGESettings(),
        GEORGESettings(total_decay=1.0),
        GEORGESettings(overclustering=1),
        GEORGESettings(identification_epochs=None),
    ),
    starts_from_erm=True,
    cost=identification_cost,
)
