"""Infer the pseudo-attribute of the training and validation samples from representations."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prusc.config import ClusteringConfig
from prusc.stages.pseudo_attributes.attribute import AttributeValues, PseudoAttribute
from prusc.stages.pseudo_attributes.clustering import Clustering, cluster_representations
from prusc.stages.pseudo_attributes.given import given_clustering


def infer_attribute(
    seen: Mapping[str, Float[Tensor, "samples dim"]],
    config: ClusteringConfig,
    *,
    num_classes: int,
    generator: torch.Generator,
    is_untrained: bool = False,
) -> PseudoAttribute:
    """Use the clusters of a network's representations as pseudo-attribute.

    Args:
        seen: Representations of the splits ``train`` and ``val``.
        config: Number of clusters, or the candidates for it.
        num_classes: Number of classes.
        generator: Source of the starts of k-means.
        is_untrained: Whether the network has not learned the classes yet. Then its clusters cut across the classes at
            any separation.

    Raises:
        DataError: See `cluster_representations`.
    """
    clustering = cluster_representations(seen["train"], config, num_classes=num_classes, generator=generator)
    return _attribute(replace(clustering, structure="untrained") if is_untrained else clustering, seen)


def take_given_attribute(
    seen: Mapping[str, Float[Tensor, "samples dim"]], train_ids: Int[Tensor, " train"]
) -> PseudoAttribute:
    """Use given ids as pseudo-attribute; validation samples get the cluster with the nearest mean direction.

    Args:
        seen: Representations of the splits ``train`` and ``val``.
        train_ids: Cluster of each training sample.
    """
    return _attribute(given_clustering(seen["train"], train_ids), seen)


def add_finer_ids(
    attribute: PseudoAttribute,
    seen: Mapping[str, Float[Tensor, "samples dim"]],
    config: ClusteringConfig,
    *,
    num_clusters: int,
    num_classes: int,
    generator: torch.Generator,
) -> PseudoAttribute:
    """Add clusters of the ERM network, which split each cell of the de-biasing set further.

    Args:
        attribute: The pseudo-attribute, from this network or another one.
        seen: Representations of the ERM network, of the splits ``train`` and ``val``.
        config: Settings of the clustering.
        num_clusters: Number of clusters.
        num_classes: Number of classes.
        generator: Source of the starts of k-means.
    """
    clustering = cluster_representations(
        seen["train"],
        replace(config, num_clusters=num_clusters, candidates=(num_clusters,)),
        num_classes=num_classes,
        generator=generator,
        option="debiasing_set.final_clusters",
    )
    finer = {"train": clustering.cluster_ids, "val": clustering.assign(seen["val"])}
    splits = {name: replace(values, finer_ids=finer[name]) for name, values in attribute.splits.items()}
    return replace(attribute, splits=splits)


def _attribute(clustering: Clustering, seen: Mapping[str, Tensor]) -> PseudoAttribute:
    ids = {"train": clustering.cluster_ids, "val": clustering.assign(seen["val"])}
    splits = {
        name: AttributeValues(
            ids=own,
            margins=clustering.margins if name == "train" else clustering.measure_margins(seen[name], own),
            similarities=clustering.similarities(seen[name], own),
        )
        for name, own in ids.items()
    }
    return PseudoAttribute(clustering, splits)
