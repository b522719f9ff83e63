"""The pseudo-attribute, a stand-in for the spurious attribute, which has no labels."""

from collections.abc import Mapping
from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from prusc.stages.pseudo_attributes.clustering import Clustering


@dataclass(frozen=True)
class Evidence:
    """How much worse the ERM network is on the validation samples that conflict with a pseudo-attribute.

    Attributes:
        source: Name of the source.
        num_conflicting: Number of validation samples that conflict: their class is rarer at their value of the
            pseudo-attribute than among all samples.
        gap: Accuracy on the samples of the same classes that do not conflict, minus that on those that do. ``None`` if
            no class has both.
        gap_ci95: Its 95 % interval.
        statistic: Cochran's and Mantel-Haenszel's statistic, without continuity correction: the gap in standard errors,
            if mistakes in each class did not depend on the pseudo-attribute. 0 if there is nothing to compare.
        p_value: One-sided p-value of the statistic.
    """

    source: str
    num_conflicting: int
    gap: float | None
    gap_ci95: tuple[float, float] | None
    statistic: float
    p_value: float


@dataclass(frozen=True, eq=False)
class AttributeValues:
    """Values of the pseudo-attribute for the samples of one split.

    Attributes:
        ids: Value of each sample.
        margins: Distance of each sample from the border between two values; see `Clustering.measure_margins`.
        similarities: Cosine similarity of each sample to the centre of its cluster: how typical it is.
    """

    ids: Int[Tensor, " samples"]
    margins: Float[Tensor, " samples"]
    similarities: Float[Tensor, " samples"]


@dataclass(frozen=True, eq=False)
class PseudoAttribute:
    """A pseudo-attribute; the later stages see nothing else.

    Attributes:
        clustering: The values as clusters of the training split, with a trial for each number of clusters.
        splits: Values in the splits ``train`` and ``val``.
        source: Where it comes from: ``linear``, ``clusters``, ``twins``, ``biased`` or ``given``.
        evidence: Evidence for each source that was compared, this one first.
    """

    clustering: Clustering
    splits: Mapping[str, AttributeValues]
    source: str = "clusters"
    evidence: tuple[Evidence, ...] = ()

    @property
    def num_values(self) -> int:
        """Number of values."""
        return self.clustering.num_clusters

    @property
    def mirrors_network(self) -> bool:
        """Whether the clustered network had learned the classes; then clusters follow its predictions."""
        return self.clustering.structure in ("strong", "reasonable", "weak")
