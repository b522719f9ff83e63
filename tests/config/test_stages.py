from dataclasses import fields
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
    (ClusteringConfig, {"fit_samples": 9}),
    (ClusteringConfig, {"silhouette_samples": 9}),
    (ClusteringConfig, {"weak_silhouette": 0.8}),
    (SelectionConfig, {"significance": 0.0}),
    (SelectionConfig, {"significance": 1.0}),
    (SelectionConfig, {"num_permutations": 0}),
    (DebiasingSetConfig, {"cell_exponent": -0.1}),
    (DebiasingSetConfig, {"cell_exponent": 1.1}),
    (DebiasingSetConfig, {"min_cell_size": 0}),
    (DebiasingSetConfig, {"min_crop_scale": 0.0}),
    (DebiasingSetConfig, {"min_crop_scale": 1.1}),
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
    (FinetuneConfig, {"head_folds": -2}),
    (FinetuneConfig, {"steps": 0}),
    (FinetuneConfig, {"batch_size": 1}),
    (FinetuneConfig, {"weight_decay": -1.0}),
    (AuditConfig, {"min_others": 0}),
    (AuditConfig, {"num_permutations": 0}),
    (AuditConfig, {"significance": 1.0}),
    (AuditConfig, {"silhouette_samples": 9}),
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
        (DebiasingSetConfig, {"cell_exponent": 1.0, "min_cell_size": 1, "min_crop_scale": 1.0}),
        (MaskConfig, {"steps": 3, "snapshots": 3, "beta": 0.0, "sparsity": 0.0}),
        (FinetuneConfig, {"head_l2": (), "learning_rates": (), "head_folds": 2}),
        (SelectionConfig, {"significance": 0.999, "num_permutations": 1}),
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


# ----------------------------------------------------------------------------------------- numbers that were not given


@pytest.mark.parametrize(
    ("num_samples", "epochs", "batch_size", "steps"),
    [
        (4000, 20, 100, 400),  # Half of 80,000 images.
        (4795, 9, 128, 168),  # 21,577 images, so the last batch is not full.
        (1_000_000, 20, 128, 1171),  # 150,000 images.
        (10, 1, 128, 2),  # Not a full batch, but a step for each snapshot.
    ],
)
def test_masks_see_half_of_the_images_of_erm_up_to_a_limit(
    num_samples: int, epochs: int, batch_size: int, steps: int
) -> None:
    filled = MaskConfig().fill(num_samples, ERMConfig(epochs=epochs, batch_size=batch_size))
    assert (filled.steps, filled.batch_size) == (steps, batch_size)
    assert filled.learning_rate == pytest.approx(40 / steps)


def test_what_was_given_for_masks_stays() -> None:
    erm = ERMConfig(epochs=20, batch_size=100)
    given = MaskConfig(steps=7, batch_size=8, learning_rate=0.5, beta=0.25, exclude=("a.*",), head=True)
    filled = given.fill(4000, erm)
    assert {item.name: getattr(filled, item.name) for item in fields(given)} == {
        item.name: getattr(given, item.name) for item in fields(given)
    }
    # Each number by itself: the rate follows the given steps, and the steps the given batch.
    assert MaskConfig(steps=50).fill(4000, erm).learning_rate == pytest.approx(0.8)
    assert MaskConfig(batch_size=50).fill(4000, erm).steps == 800
    assert MaskConfig(learning_rate=0.5).fill(4000, erm).steps == 400
    assert MaskConfig(snapshots=9).fill(10, erm).steps == 9
    # What is filled is filled for good.
    assert filled.fill(9, ERMConfig(epochs=1)) == filled


@pytest.mark.parametrize(
    ("num_samples", "epochs", "batch_size", "steps"),
    [(4000, 20, 100, 80), (4795, 9, 128, 33), (1_000_000, 20, 128, 390), (10, 1, 128, 1)],
)
def test_fine_tuning_sees_a_tenth_of_the_images_of_erm_up_to_a_limit(
    num_samples: int, epochs: int, batch_size: int, steps: int
) -> None:
    erm = ERMConfig(epochs=epochs, batch_size=batch_size)
    assert FinetuneConfig().count_steps(num_samples, erm) == (steps, batch_size)


def test_what_was_given_for_fine_tuning_stays() -> None:
    erm = ERMConfig(epochs=20, batch_size=100)
    assert FinetuneConfig(steps=7, batch_size=8).count_steps(4000, erm) == (7, 8)
    assert FinetuneConfig(steps=7).count_steps(4000, erm) == (7, 100)
    assert FinetuneConfig(batch_size=50).count_steps(4000, erm) == (160, 50)
