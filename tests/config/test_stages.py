from typing import Any

import pytest

from prusc.config import (
    AuditConfig,
    ClusteringConfig,
    DebiasingSetConfig,
    ERMConfig,
    FinetuneConfig,
    MaskConfig,
    SelectionConfig,
)
from prusc.errors import ConfigError

OUT_OF_RANGE: list[tuple[type, dict[str, Any]]] = [
    (ERMConfig, {"epochs": 0}),
    (ERMConfig, {"batch_size": 1}),
    (ERMConfig, {"learning_rate": 0.0}),
    (ERMConfig, {"learning_rate": float("nan")}),
    (ERMConfig, {"learning_rate": 3e37}),
    (ERMConfig, {"weight_decay": -1.0}),
    (ERMConfig, {"min_crop_scale": 0.0}),
    (ERMConfig, {"min_crop_scale": 1.1}),
    (ClusteringConfig, {"num_clusters": 1}),
    (ClusteringConfig, {"candidates": (4, 1), "num_clusters": None}),
    (ClusteringConfig, {"num_clusters": None, "candidates": ()}),
    (ClusteringConfig, {"num_restarts": 0}),
    (ClusteringConfig, {"silhouette_samples": 9}),
    (ClusteringConfig, {"weak_silhouette": 0.8}),
    (SelectionConfig, {"significance": 0.0}),
    (SelectionConfig, {"tolerance": -1.0}),
    (DebiasingSetConfig, {"cell_exponent": -0.1}),
    (DebiasingSetConfig, {"cell_exponent": 1.1}),
    (DebiasingSetConfig, {"min_cell_size": 0}),
    (DebiasingSetConfig, {"border_share": -0.1}),
    (DebiasingSetConfig, {"border_share": 1.0}),
    (DebiasingSetConfig, {"final_clusters": 1}),
    (DebiasingSetConfig, {"final_clusters": -2}),
    (MaskConfig, {"snapshots": 1, "steps": 0}),
    (MaskConfig, {"batch_size": 1}),
    (MaskConfig, {"learning_rate": -0.1}),
    (MaskConfig, {"mask_temperature": 0.0}),
    (MaskConfig, {"beta": -1.0}),
    (MaskConfig, {"contrastive_temperature": 0.0}),
    (MaskConfig, {"sparsity": -1.0}),
    (MaskConfig, {"snapshots": 0}),
    (MaskConfig, {"steps": 3, "snapshots": 4}),
    (FinetuneConfig, {"head_l2": (0.1, 0.0)}),
    (FinetuneConfig, {"learning_rates": (-1.0,)}),
    (FinetuneConfig, {"head_folds": 1}),
    (FinetuneConfig, {"head_folds": 5, "head_views": 2}),
    (FinetuneConfig, {"head_views": -1}),
    (FinetuneConfig, {"steps": 0}),
    (FinetuneConfig, {"batch_size": 1}),
    (FinetuneConfig, {"weight_decay": -1.0}),
    (AuditConfig, {"min_others": 0}),
    (AuditConfig, {"num_permutations": 0}),
    (AuditConfig, {"significance": 1.0}),
    (AuditConfig, {"silhouette_samples": 9}),
    (SelectionConfig, {"prior_strength": -0.5}),
]


@pytest.mark.parametrize(("kind", "settings"), OUT_OF_RANGE)
def test_settings_out_of_range_are_refused_by_name(kind: type, settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"must be .*, found") as caught:
        kind(**settings)
    # The last setting of each is the wrong one.
    name = list(settings)[-1]
    named = {"num_clusters": "number of clusters"}
    assert named.get(name, name) in str(caught.value)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        (ERMConfig, {"epochs": 1, "batch_size": 2, "weight_decay": 0.0, "min_crop_scale": 1e-6}),
        (ClusteringConfig, {"num_clusters": 2, "candidates": (1,), "num_restarts": 1, "silhouette_samples": 10}),
        (ClusteringConfig, {"weak_silhouette": 0.7, "strong_silhouette": 0.7}),
        (DebiasingSetConfig, {"cell_exponent": 1.0, "min_cell_size": 1, "border_share": 0.0, "final_clusters": 2}),
        (MaskConfig, {"steps": 3, "snapshots": 3, "beta": 0.0, "sparsity": 0.0}),
        (FinetuneConfig, {"head_l2": (), "learning_rates": (), "head_folds": 2, "head_views": 0}),
        (SelectionConfig, {"prior_strength": 0.0, "tolerance": 0.0, "significance": 0.999}),
        (AuditConfig, {"min_others": 1, "num_permutations": 1, "silhouette_samples": 10}),
    ],
)
def test_the_bounds_themselves_are_allowed(kind: type, settings: dict[str, Any]) -> None:
    config = kind(**settings)
    assert {name: getattr(config, name) for name in settings} == settings


def test_a_given_number_of_clusters_replaces_the_candidates() -> None:
    """A candidate of 1 cannot be used, so it is refused where the candidates decide, and only there."""
    assert ClusteringConfig(num_clusters=3, candidates=(1,)).num_clusters == 3
    with pytest.raises(ConfigError, match="number of clusters must be at least 2, found 1"):
        ClusteringConfig(candidates=(1,))
