"""SPARE: cluster the outputs of an early network, and draw samples of small clusters more often."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prusc.config.checks import require
from prusc.methods.budget import identification_cost
from prusc.methods.class_clusters import cluster_each_class
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class SPARESettings:
    """Settings of SPARE.

    Attributes:
        identification_epochs: Epochs of the network whose outputs are clustered.
        max_clusters: Largest number of clusters of a class.
        silhouette_threshold: Classes with a lower silhouette are drawn with `sampling_power`, because their small
            clusters hold samples of the large groups too. The other classes are drawn with power 1.
        sampling_power: Power of a cluster's size that divides the weight of its samples (lambda).
    """

    identification_epochs: int = 1
    max_clusters: int = 5
    silhouette_threshold: float = 0.9
    sampling_power: float = 2.0

    def __post_init__(self) -> None:
        require_positive(self, "identification_epochs")
        require(self.max_clusters >= 2, "max_clusters", self.max_clusters, "at least 2")
        silhouette = self.silhouette_threshold
        require(-1 <= silhouette <= 1, "silhouette_threshold", silhouette, "in [-1, 1]")
        require_not_negative(self, "sampling_power")


def sampling_weights(
    cluster_ids: Int[Tensor, " samples"],
    labels: Int[Tensor, " samples"],
    powers: Float[Tensor, " classes"],
) -> Float[Tensor, " samples"]:
    """Weight each sample by ``size ** -power``, where ``size`` is that of its cluster, and balance the classes.

    Args:
        cluster_ids: Cluster of each sample; no cluster has samples of two classes.
        labels: Class of each sample.
        powers: Power of each class; 1 gives equal shares to the clusters of a class, 0 to its samples.

    Returns:
        Weights that sum to 1, with equal shares of the classes.

    References:
        Yang et al. 2023, arXiv:2305.18761, section 4. Only the published code balances the classes.
    """
    sizes = torch.bincount(cluster_ids).double()
    weights = sizes[cluster_ids] ** -powers[labels].double()
    per_class = torch.zeros(len(powers), dtype=torch.float64).index_add_(0, labels, weights)
    return (weights / per_class[labels] / (per_class > 0).sum()).float()


def _train(inputs: MethodInputs, settings: SPARESettings) -> Trained:
    """Cluster the class probabilities of an early network, then train a new one on cluster-balanced draws."""
    found = cluster_each_class(
        inputs.early_view("SPARE", settings.identification_epochs).logits.softmax(dim=1),
        inputs.train.labels,
        num_classes=inputs.num_classes,
        max_clusters=settings.max_clusters,
        silhouette_samples=inputs.config.clustering.silhouette_samples,
        generator=inputs.generator("clusters"),
    )
    powers = torch.where(found.silhouettes < settings.silhouette_threshold, settings.sampling_power, 1.0)
    weights = sampling_weights(found.cluster_ids, inputs.train.labels, powers)
    network = inputs.fit(inputs.new_network(), inputs.draws("batches", inputs.num_steps(1.0), weights), "SPARE")
    return Trained(
        network,
        facts={"num_clusters": found.num_clusters, "lowest_silhouette": found.silhouettes.min().item()},
    )


SPARE = TrainedMethod(
    name="spare",
    title="SPARE",
    paper="Yang et al. 2023, arXiv:2305.18761",
    group_labels="none",
    train=_train,
    settings=(
        SPARESettings(),
        SPARESettings(silhouette_threshold=1.0),
        SPARESettings(identification_epochs=2),
        SPARESettings(silhouette_threshold=1.0, sampling_power=3.0),
    ),
    starts_from_erm=False,
    cost=identification_cost,
)
