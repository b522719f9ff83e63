"""Clusters as pseudo-attribute: cosine k-means over the representations of all classes together."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from sklearn.cluster import KMeans
from sklearn.metrics import silhouette_score
from torch import Tensor
from torch.nn import functional as F

from prusc.config import ClusteringConfig
from prusc.engine.display import describe_with_table
from prusc.engine.runtime import stage_generator
from prusc.errors import DataError
from prusc.stages.representations import Representations

Structure = Literal["strong", "reasonable", "weak", "untrained"]


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


@dataclass(frozen=True, eq=False, repr=False)
class Clustering:
    """Clusters and their centres, which also assign samples that were not clustered.

    Attributes:
        cluster_ids: Cluster of each clustered sample, in ``[0, num_clusters)``.
        centres: Unit vectors.
        trials: The figures of every number of clusters that was tried.
        structure: How far clusters stand apart that are more than the classes, in the words of Kaufman and Rousseeuw;
            ``untrained`` if the network whose representations these are had yet to learn the classes, for then the
            clusters cut across these however far they stand apart.
        margins: Of each clustered sample, see `measure_margins`.
    """

    cluster_ids: Int[Tensor, " samples"]
    centres: Float[Tensor, "clusters dim"]
    trials: tuple[ClusterCountTrial, ...]
    structure: Structure
    margins: Float[Tensor, " samples"]

    def __repr__(self) -> str:
        return (
            f"Clustering({self.num_clusters} clusters of {len(self.cluster_ids)} samples, "
            f"{describe_structure(self.structure)})"
        )

    def _repr_html_(self) -> str:
        return describe_with_table(self, pd.DataFrame([vars(trial) for trial in self.trials]))

    @property
    def num_clusters(self) -> int:
        """How many clusters there are."""
        return len(self.centres)

    @property
    def untrained(self) -> bool:
        """Whether the network that was clustered had yet to learn the classes."""
        return self.structure == "untrained"

    def assign(self, representations: Float[Tensor, "others dim"]) -> Int[Tensor, " others"]:
        """Return the nearest centre, by cosine similarity, of each representation."""
        return nearest_centres(representations, self.centres)

    def similarities(
        self, representations: Float[Tensor, "others dim"], cluster_ids: Int[Tensor, " others"]
    ) -> Float[Tensor, " others"]:
        """Return the cosine similarity of each representation to the centre of its cluster: how typical it is."""
        return (F.normalize(representations, dim=1) * self.centres[cluster_ids]).sum(dim=1)

    def measure_margins(
        self, representations: Float[Tensor, "others dim"], cluster_ids: Int[Tensor, " others"]
    ) -> Float[Tensor, " others"]:
        """Return by how much the centre of its cluster is more similar to each representation than any other centre.

        Near 0 a sample is at the border between two clusters. It is negative where another centre is nearer, as
        clusters that come from elsewhere allow, and 0 if there is one cluster alone.
        """
        return measure_margins(representations, cluster_ids, self.centres)


def cluster_representations(
    representations: Representations | Float[Tensor, "samples dim"],
    config: ClusteringConfig | None = None,
    *,
    num_classes: int | None = None,
    generator: torch.Generator | None = None,
    option: str = "clustering.num_clusters",
) -> Clustering:
    """Cluster representations by their direction.

    Args:
        representations: Any scale; zero vectors have no direction and are refused if there are no others.
        config: K, and the candidates for it; the defaults if ``None``.
        num_classes: So many clusters, or fewer, may stand apart because the classes do. ``None``: as many as the
            network has outputs, or 1 for a tensor.
        generator: Decides the starts of k-means; that of seed 0 if ``None``.
        option: Which setting to lower where there are fewer representations than clusters.

    Returns:
        The clustering of the given or chosen K.

    Raises:
        DataError: If there are fewer distinct directions than clusters.

    References:
        Kaufman and Rousseeuw 1990, "Finding Groups in Data", for what a silhouette says about the structure.

    Example:
        >>> import torch, prusc
        >>> angles = torch.tensor([0.0, 0.1, 1.5, 1.6])
        >>> values = torch.stack([angles.cos(), angles.sin()], dim=1)
        >>> found = prusc.cluster_representations(values, prusc.config.ClusteringConfig(num_clusters=2))
        >>> bool(found.cluster_ids[0] == found.cluster_ids[1] != found.cluster_ids[2])
        True
    """
    config, generator = config or ClusteringConfig(), generator or stage_generator(0, "clustering")
    if isinstance(representations, Representations):
        num_classes = representations.logits.shape[1] if num_classes is None else num_classes
        representations = representations.values
    num_classes = num_classes or 1
    unit = F.normalize(representations.double(), dim=1).numpy()
    # Directions that differ in the last digits only would give k-means empty clusters.
    num_distinct = len(np.unique(unit.round(6), axis=0))
    given = config.num_clusters
    wanted = config.candidates if given is None else (given,)
    possible = [k for k in wanted if k <= num_distinct]
    if not possible:
        raise DataError(
            f"clustering into {min(wanted)} clusters needs as many distinct representations; {len(unit)} samples have "
            f"{num_distinct}: lower {option}, or look for a network that maps all images to one point"
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
    beyond_classes = [trial for trial in trials if trial.num_clusters > num_classes] or trials
    structure = _name_structure(max(map(_silhouette_or_less, beyond_classes)), config)
    # Where nothing stands far apart, many small clusters are the safer way to find what differs.
    # Fewer clusters than classes put classes together that have shortcuts of their own.
    enough = [trial for trial in trials if trial.num_clusters >= num_classes] or trials
    best = max(enough, key=_silhouette_or_less).num_clusters if structure == "strong" else max(possible)
    chosen = given or best
    centres = F.normalize(torch.from_numpy(found[chosen].cluster_centers_), dim=1).float()
    cluster_ids = nearest_centres(representations, centres)
    margins = measure_margins(representations, cluster_ids, centres)
    return Clustering(cluster_ids, centres, tuple(trials), structure, margins)


def describe_structure(structure: str) -> str:
    """Say in words what the structure of clusters is."""
    return "clusters of the untrained network" if structure == "untrained" else f"{structure} structure"


def _silhouette_or_less(trial: ClusterCountTrial) -> float:
    return -2.0 if trial.silhouette is None else trial.silhouette


def _name_structure(silhouette: float, config: ClusteringConfig) -> Structure:
    if silhouette >= config.strong_silhouette:
        return "strong"
    return "reasonable" if silhouette >= config.weak_silhouette else "weak"


def nearest_centres(
    representations: Float[Tensor, "samples dim"], centres: Float[Tensor, "clusters dim"]
) -> Int[Tensor, " samples"]:
    """Return the nearest centre of each representation, by cosine similarity."""
    return (F.normalize(representations, dim=1) @ centres.T).argmax(dim=1)


def measure_margins(
    representations: Float[Tensor, "samples dim"],
    cluster_ids: Int[Tensor, " samples"],
    centres: Float[Tensor, "clusters dim"],
) -> Float[Tensor, " samples"]:
    """Return how far each representation is from the border of its cluster; see `Clustering.measure_margins`."""
    if len(centres) == 1:
        return torch.zeros(len(cluster_ids))
    similarities = F.normalize(representations, dim=1) @ centres.T
    own = cluster_ids.unsqueeze(1)
    others = similarities.scatter(1, own, -torch.inf)
    return similarities.gather(1, own).squeeze(1) - others.max(dim=1).values
