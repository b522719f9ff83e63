"""The pseudo-attribute, a stand-in for the spurious attribute, which has no labels."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from prusc.stages.pseudo_attributes.clustering import Clustering


@dataclass(frozen=True, eq=False)
class AttributeValues:
    """Values of the pseudo-attribute for the samples of one split.

    Attributes:
        ids: Value of each sample.
        margins: Distance of each sample from the border between two values; see `Clustering.measure_margins`.
        similarities: Cosine similarity of each sample to the centre of its cluster: how typical it is.
        finer_ids: Cluster of each sample in the ERM network, if ``debiasing_set.final_clusters`` is set.
    """

    ids: Int[Tensor, " samples"]
    margins: Float[Tensor, " samples"]
    similarities: Float[Tensor, " samples"]
    finer_ids: Int[Tensor, " samples"] | None = None


@dataclass(frozen=True, eq=False)
class PseudoAttribute:
    """A pseudo-attribute and the clustering it comes from; the later stages see nothing else.

    Attributes:
        clustering: Clustering of the training split, with a trial for each number of clusters.
        splits: Values in the splits ``train`` and ``val``.
    """

    clustering: Clustering
    splits: Mapping[str, AttributeValues]

    @property
    def num_values(self) -> int:
        """Number of values."""
        return self.clustering.num_clusters

    @property
    def mirrors_network(self) -> bool:
        """Whether the clustered network had learned the classes; then clusters follow its predictions."""
        return self.clustering.structure != "untrained"
