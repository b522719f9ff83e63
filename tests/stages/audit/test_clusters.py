"""Suspects among clusters that are laid out by hand."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from prusc.config import AuditConfig
from prusc.stages.audit.clusters import (
    Audit,
    audit_clusters,
    cluster_p_values,
    find_weak_classes,
    measure_agreement,
    smallest_visible_loss,
)
from prusc.stages.cells import Cells
from prusc.stages.pseudo_attributes.attribute import AttributeValues, PseudoAttribute
from prusc.stages.pseudo_attributes.clustering import Clustering, Structure
from tests.reference import audit as reference
from tests.reference.permutation_test import permutation_p_value

CONFIG = AuditConfig(num_permutations=199)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def audit(
    cluster_ids: Tensor, predictions: Tensor, labels: Tensor, structure: Structure = "strong", *, spread: float = 0.1
) -> Audit:
    """Audit representations near the axis of their cluster."""
    representations, attribute = lay_out(cluster_ids, structure, spread=spread)
    cells = Cells(labels, cluster_ids, num_classes=2)
    return audit_clusters(representations, predictions, cells, attribute, CONFIG, generator=generator())


def lay_out(cluster_ids: Tensor, structure: Structure, *, spread: float = 0.1) -> tuple[Tensor, PseudoAttribute]:
    """Representations near the axis of their cluster."""
    centres = torch.eye(int(cluster_ids.max()) + 1)
    noise = spread * torch.randn(len(cluster_ids), len(centres), generator=generator(1))
    representations, margins = centres[cluster_ids] + noise, torch.ones(len(cluster_ids))  # No audit reads them.
    clustering = Clustering(cluster_ids, centres, (), structure, margins)
    assert torch.equal(clustering.assign(representations), cluster_ids)
    values = AttributeValues(cluster_ids, margins, clustering.similarities(representations, cluster_ids))
    return representations, PseudoAttribute(clustering, {"train": values, "val": values})


def shortcut() -> tuple[Tensor, Tensor, Tensor]:
    """Two classes, and a cluster for each that holds 20 samples of the other class, which are taken for its own.

    A third cluster has both classes and serves both.
    """
    labels = torch.tensor([0] * 200 + [1] * 20 + [1] * 200 + [0] * 20 + [0] * 30 + [1] * 30)
    cluster_ids = torch.tensor([0] * 220 + [1] * 220 + [2] * 60)
    predictions = torch.where(cluster_ids < 2, cluster_ids, labels)
    return labels, cluster_ids, predictions


@pytest.mark.parametrize(
    ("structure", "verdict"),
    [
        ("strong", "suspected"),
        ("reasonable", "unclear"),
        ("weak", "unclear"),
        ("untrained", "suspected"),
        ("predicted", "suspected"),
    ],
)
def test_a_shortcut_is_suspected_unless_the_clusters_may_be_mistakes(structure: Structure, verdict: str) -> None:
    labels, cluster_ids, predictions = shortcut()
    found = audit(cluster_ids, predictions, labels, structure)
    assert found.verdict == verdict
    assert [(c.cluster, c.is_suspect) for c in found.clusters] == [(0, True), (1, True), (2, False)]
    first, _, last = found.clusters
    assert (first.main_label, first.class_counts, first.num_others) == (0, (200, 20), 20)
    assert (first.accuracy, first.others_accuracy, first.loss) == (pytest.approx(200 / 220), 0.0, 1.0)
    assert first.loss_ci95 is not None
    assert 0.7 < first.loss_ci95[0] < 1 == first.loss_ci95[1]
    assert first.p_value == 1 / 200
    assert first.silhouette is not None
    assert first.silhouette > 0.9
    assert last.loss == 0.0
    assert torch.equal(found.cluster_ids, cluster_ids)
    representations, _ = lay_out(cluster_ids, structure)
    assert torch.allclose(found.similarities, F.normalize(representations, dim=1)[torch.arange(500), cluster_ids])


def test_a_network_that_serves_all_samples_of_a_class_alike_has_no_suspects() -> None:
    labels, cluster_ids, _ = shortcut()
    wrong = torch.rand(len(labels), generator=generator(3)) < 0.2
    predictions = torch.where(wrong, 1 - labels, labels)
    found = audit(cluster_ids, predictions, labels)
    assert found.verdict == "not-found"
    assert not any(cluster.is_suspect for cluster in found.clusters)


def test_a_handful_of_others_is_no_suspect() -> None:
    labels = torch.tensor([0] * 100 + [1] * 4 + [1] * 100)
    cluster_ids = torch.tensor([0] * 104 + [1] * 100)
    found = audit(cluster_ids, cluster_ids, labels)
    assert found.clusters[0].p_value < 0.05
    assert not found.clusters[0].is_suspect


def test_a_class_that_is_nowhere_the_main_one_has_no_loss() -> None:
    labels = torch.tensor([0] * 50 + [1] * 10)
    cluster_ids = torch.tensor([0] * 30 + [1] * 20 + [0] * 10)
    found = audit(cluster_ids, torch.zeros_like(labels), labels)
    mixed = next(cluster for cluster in found.clusters if cluster.cluster == 0)
    assert (mixed.loss, mixed.loss_ci95, mixed.others_accuracy) == (None, None, 0.0)


def test_p_values_equal_those_of_a_slow_twin() -> None:
    source = generator(5)
    labels = torch.randint(2, (120,), generator=source)
    cluster_ids = torch.randint(3, (120,), generator=source)
    main_labels = torch.tensor([0, 1, 0])
    is_other = main_labels[cluster_ids] != labels
    right = torch.rand(120, generator=source) < torch.where(is_other & (cluster_ids == 0), 0.55, 0.8)
    found = cluster_p_values(right, labels, cluster_ids, is_other, 3, 4000, generator())
    for cluster in range(3):
        expected = permutation_p_value(right, labels, cluster_ids, is_other, cluster, 3, 400, generator(9))
        assert found[cluster].item() == pytest.approx(expected, abs=0.04)


def test_p_values_are_uniform_where_nothing_is_wrong() -> None:
    labels = torch.arange(200) % 2
    cluster_ids = torch.arange(200) // 20 % 5
    is_other = (cluster_ids % 2) != labels
    smallest = []
    for seed in range(100):
        right = torch.rand(200, generator=generator(seed)) < 0.7
        p_values = cluster_p_values(right, labels, cluster_ids, is_other, 5, 99, generator(seed))
        smallest.append(p_values.min().item())
    # Of 100 data sets 5 are expected below 0.05; with more than 12 the test would be wrong (binomial, 0.15 %).
    assert sum(p <= 0.05 for p in smallest) <= 12


def test_agreement_is_that_of_the_same_partition_and_of_chance() -> None:
    values = torch.arange(400) % 4
    same = measure_agreement("colour", values, (values + 1) % 4)
    assert (same.adjusted_mutual_information, same.purity) == (pytest.approx(1.0), 1.0)
    other = measure_agreement("shape", torch.arange(400) // 4 % 2, values)
    assert other.adjusted_mutual_information == pytest.approx(0.0, abs=0.01)
    assert other.purity == pytest.approx(0.5)
    counted = measure_agreement("mixed", torch.tensor([0, 0, 1, 1, 1, 0]), torch.tensor([0, 0, 0, 1, 1, 1]))
    assert counted.purity == pytest.approx(4 / 6)


def test_clusters_of_an_untrained_network_cut_across_a_rare_class() -> None:
    # One sample in five is of class 1; the network takes what lies in cluster 1 for class 0.
    labels = torch.tensor([0] * 200 + [1] * 80 + [0] * 200 + [1] * 20)
    cluster_ids = torch.tensor([0] * 280 + [1] * 220)
    predictions = torch.where(cluster_ids == 1, 0, labels)
    found = audit(cluster_ids, predictions, labels, "untrained")
    assert found.verdict == "suspected"
    first = found.clusters[0]
    assert (first.cluster, first.main_label, first.is_suspect) == (1, 0, True)
    # Class 0 is the larger one in both clusters, but most of class 1 lies in cluster 0.
    assert (first.num_others, first.loss) == (20, 1.0)
    assert (found.clusters[1].main_label, found.clusters[1].is_suspect) == (1, False)
    honest = audit(cluster_ids, labels, labels, "untrained")
    assert honest.verdict == "not-found"


@pytest.mark.parametrize("num_others", [0, 3, 40])
def test_without_a_suspect_it_is_undecided_unless_a_moderate_loss_would_have_been_seen(num_others: int) -> None:
    labels = torch.tensor([0] * 100 + [1] * num_others + [1] * 100)
    cluster_ids = torch.tensor([0] * (100 + num_others) + [1] * 100)
    found = audit(cluster_ids, labels, labels)
    assert found.verdict == ("not-found" if num_others == 40 else "undecided")
    assert (found.smallest_loss is None) == (num_others == 0)


@pytest.mark.parametrize("seed", range(4))
def test_the_smallest_visible_loss_equals_that_of_a_slow_twin(seed: int) -> None:
    source = generator(seed)
    labels = torch.randint(2, (90,), generator=source)
    cluster_ids = torch.where(torch.rand(90, generator=source) < 0.2, 1 - labels, labels)
    predictions = torch.where(torch.rand(90, generator=source) < 0.1 * labels, 1 - labels, labels)
    found = audit(cluster_ids, predictions, labels)
    mains = {cluster.cluster: cluster.main_label for cluster in found.clusters}
    right = predictions == labels
    expected = reference.smallest_visible_loss(
        right.tolist(), labels.tolist(), cluster_ids.tolist(), mains, CONFIG.significance
    )
    assert found.smallest_loss == pytest.approx(expected, rel=1e-6)
    # A stricter test sees less.
    strict = smallest_visible_loss(found.clusters, right, labels, 0.001)
    assert strict is not None
    assert strict > expected


@pytest.mark.parametrize("seed", range(4))
def test_weak_classes_are_those_of_the_exact_test_the_worst_first(seed: int) -> None:
    source = generator(seed)
    labels = torch.randint(4, (300,), generator=source)
    right = torch.rand(300, generator=source) < torch.tensor([0.95, 0.5, 0.93, 0.75])[labels]
    p_values = reference.weak_class_p_values(right.tolist(), labels.tolist())
    accuracies = {label: right[labels == label].double().mean().item() for label in range(4)}
    expected = sorted((label for label in range(4) if p_values[label] <= 0.05 / 4), key=lambda y: accuracies[y])
    assert find_weak_classes(right, labels, 0.05) == expected
    assert expected[0] == 1


def test_classes_that_are_served_alike_or_alone_are_not_weak() -> None:
    labels = torch.arange(200) % 2
    assert find_weak_classes(torch.arange(200) % 10 < 8, labels, 0.05) == []
    assert find_weak_classes(torch.arange(200) % 10 < 2, torch.zeros(200, dtype=torch.long), 0.05) == []
