"""What pages and tables call a value of the pseudo-attribute, by its source."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prusc.stages.pseudo_attributes.attribute import Evidence


@dataclass(frozen=True)
class ValueWords:
    """Words for the values of a pseudo-attribute.

    Attributes:
        one: Such as ``value``.
        title: Such as ``Values of the pseudo-attribute``, for a heading.
        meaning: What one is and where it comes from, in a sentence or two.
    """

    one: str
    title: str
    meaning: str

    @property
    def many(self) -> str:
        """The plural of ``one``."""
        return f"{self.one}s"


_SOURCES: Mapping[str, str] = {
    "linear": (
        "a sample's value is the class that a strongly regularised linear model predicts from representations of the "
        "network before, or early in, its training (source linear)"
    ),
    "twins": (
        "a sample's value is its class, or the class that one of two heads takes it for, each trained on one half of "
        "the samples and on the mistakes of the other (source twins)"
    ),
    "biased": (
        "a sample's value is the class that a model predicts which learned the easy samples only (source biased)"
    ),
    "given": "a sample's value was given in a file (clustering.from_csv)",
}
_STANDS_IN = "The pseudo-attribute stands in for the spurious attribute, which nobody labelled: "
_CLUSTERS = ValueWords(
    "cluster",
    "Clusters",
    "A cluster holds samples that the network, or an earlier state of it, represents alike.",
)


def name_values_of(source: str | None) -> ValueWords:
    """Return the words for a source; those of clusters for ``None``, as an older prusc knew no other source."""
    if source in (None, "clusters"):
        return _CLUSTERS
    meaning = _SOURCES.get(str(source), f"source {source}")
    return ValueWords("value", "Values of the pseudo-attribute", f"{_STANDS_IN}{meaning}.")


def source_in_use(evidence: Sequence[Evidence]) -> str:
    """Return the source in use, which comes first; without any evidence the values were given."""
    return evidence[0].source if evidence else "given"
