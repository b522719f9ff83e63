"""The pseudo-attribute: what stands in for the spurious attribute that nobody labelled."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from prusc.stages.pseudo_attributes.clustering import Clustering


@dataclass(frozen=True, eq=False)
class AttributeValues:
    """The pseudo-attribute of the samples of one split.

    Attributes:
        ids: Its value for each sample.
        margins: How far each sample is from the border between two values, see `Clustering.measure_margins`.
        similarities: Cosine similarity of each sample to the centre of its cluster: how typical it is.
        finer_ids: Cluster of each sample in the ERM network, where ``debiasing_set.final_clusters`` asks for it.
    """

    ids: Int[Tensor, " samples"]
    margins: Float[Tensor, " samples"]
    similarities: Float[Tensor, " samples"]
    finer_ids: Int[Tensor, " samples"] | None = None


@dataclass(frozen=True, eq=False)
class PseudoAttribute:
    """A pseudo-attribute and the evidence for it. Everything after it (cells, draws, judges) sees only this.

    Attributes:
        clustering: Of the training split, with the figures of every number of clusters that was tried.
        splits: Its values in the splits ``train`` and ``val``.
    """

    clustering: Clustering
    splits: Mapping[str, AttributeValues]

    @property
    def num_values(self) -> int:
        """How many values it has."""
        return self.clustering.num_clusters

    @property
    def mirrors_network(self) -> bool:
        """Whether it comes from a network that has learned the classes; then its errors follow the predictions."""
        return self.clustering.structure != "untrained"
