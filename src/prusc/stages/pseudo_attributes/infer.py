"""Stage 2: infer the pseudo-attribute of the training and validation samples, from one of several sources."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from prusc.config import ClusteringConfig, PseudoAttributeConfig
from prusc.data.rows import StoredRows, iterate_blocks
from prusc.engine.runtime import stage_generator
from prusc.stages.pseudo_attributes.attribute import AttributeValues, PseudoAttribute
from prusc.stages.pseudo_attributes.biased import infer_by_biased_head
from prusc.stages.pseudo_attributes.clustering import Clustering, cluster_representations
from prusc.stages.pseudo_attributes.given import given_clustering
from prusc.stages.pseudo_attributes.linear import predict_linearly
from prusc.stages.pseudo_attributes.twins import infer_by_twins


@dataclass(frozen=True, eq=False)
class Seen:
    """What a source sees: representations of a network before or early in its training, and the classes.

    Attributes:
        values: Representations of the splits ``train`` and ``val``, on any scale, in memory or on disk.
        labels: Class of each sample of these splits.
        num_classes: Number of classes.
        is_untrained: Whether the network has not learned the classes yet. Then its clusters cut across the classes at
            any separation.
        clustering: Settings of clusters.
        config: Settings of the other sources.
        seed: Seed of the run.
    """

    values: Mapping[str, Float[Tensor, "samples dim"] | StoredRows]
    labels: Mapping[str, Int[Tensor, " samples"]]
    num_classes: int
    is_untrained: bool
    clustering: ClusteringConfig
    config: PseudoAttributeConfig
    seed: int

    def generator(self, name: str) -> torch.Generator:
        """Return the source of randomness of one source."""
        return stage_generator(self.seed, name)


def infer_attribute(source: str, seen: Seen) -> PseudoAttribute:
    """Infer the pseudo-attribute from one source.

    Args:
        source: One of `SOURCES`.
        seen: What it sees.

    Raises:
        DataError: If there are fewer samples or classes than the source needs.
    """
    return replace(SOURCES[source](seen), source=source)


def take_given_attribute(
    values: Mapping[str, Float[Tensor, "samples dim"] | StoredRows], train_ids: Int[Tensor, " train"]
) -> PseudoAttribute:
    """Use given ids as pseudo-attribute; validation samples get the cluster with the nearest mean direction.

    Args:
        values: Representations of the splits ``train`` and ``val``.
        train_ids: Cluster of each training sample.
    """
    return replace(_from_clusters(given_clustering(values["train"], train_ids), values), source="given")


def _infer_linearly(seen: Seen) -> PseudoAttribute:
    logits = predict_linearly(
        seen.values,
        seen.labels["train"],
        num_classes=seen.num_classes,
        l2=seen.config.l2,
        num_folds=seen.config.folds,
        generator=seen.generator("linear pseudo-attribute"),
    )
    splits = {}
    for name, own in logits.items():
        first, second = own.topk(2, dim=1).values.unbind(dim=1)
        probabilities = own.softmax(dim=1).amax(dim=1)
        splits[name] = AttributeValues(own.argmax(dim=1), first - second, probabilities)
    return _from_predictions(seen, splits)


def _infer_by_clusters(seen: Seen) -> PseudoAttribute:
    clustering = cluster_representations(
        seen.values["train"], seen.clustering, num_classes=seen.num_classes, generator=seen.generator("clustering")
    )
    return _from_clusters(replace(clustering, structure="untrained") if seen.is_untrained else clustering, seen.values)


def _infer_by_twins(seen: Seen) -> PseudoAttribute:
    found = infer_by_twins(
        seen.values["train"],
        seen.labels["train"],
        seen.values["val"],
        seen.labels["val"],
        seen.config.twins,
        seen.generator("twins"),
    )
    return _from_ids(seen, {"train": found.train, "val": found.val})


def _infer_by_bias(seen: Seen) -> PseudoAttribute:
    found = infer_by_biased_head(
        seen.values["train"],
        seen.labels["train"],
        seen.values["val"],
        seen.config.biased,
        seen.generator("biased head"),
    )
    return _from_ids(seen, {"train": found.train, "val": found.val})


SOURCES: Mapping[str, Callable[[Seen], PseudoAttribute]] = {
    "linear": _infer_linearly,
    "clusters": _infer_by_clusters,
    "twins": _infer_by_twins,
    "biased": _infer_by_bias,
}
"""Sources of a pseudo-attribute, by name."""


def _from_clusters(clustering: Clustering, values: Mapping[str, Tensor | StoredRows]) -> PseudoAttribute:
    ids = {"train": clustering.cluster_ids, "val": clustering.assign(values["val"])}
    splits = {
        name: AttributeValues(
            ids=own,
            margins=clustering.margins if name == "train" else clustering.measure_margins(values[name], own),
            similarities=clustering.similarities(values[name], own),
        )
        for name, own in ids.items()
    }
    return PseudoAttribute(clustering, splits)


def _from_predictions(seen: Seen, splits: Mapping[str, AttributeValues]) -> PseudoAttribute:
    """Use predicted classes as values; the centre of a value is the mean direction of its training samples."""
    train = splits["train"]
    values = seen.values["train"]
    centres = torch.zeros(seen.num_classes, values.shape[1])
    for here, block in iterate_blocks(values):
        centres.index_add_(0, train.ids[here], F.normalize(block, dim=1))
    return PseudoAttribute(Clustering(train.ids, F.normalize(centres, dim=1), (), "predicted", train.margins), splits)


def _from_ids(seen: Seen, ids: Mapping[str, Tensor]) -> PseudoAttribute:
    """Use predicted classes as values, where nothing is known of how certain the predictions are."""
    ones = {name: torch.ones(len(own)) for name, own in ids.items()}
    return _from_predictions(seen, {name: AttributeValues(own, ones[name], ones[name]) for name, own in ids.items()})
