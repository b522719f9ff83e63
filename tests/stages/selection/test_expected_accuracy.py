import pytest
import torch

from prusc.stages.selection.expected_accuracy import expected_accuracies
from tests.networks import generator
from tests.reference import cell_shifts as reference


@pytest.mark.parametrize(("num_classes", "num_clusters"), [(2, 2), (3, 4)])
def test_it_agrees_with_its_slow_twin(num_classes: int, num_clusters: int) -> None:
    random = generator(num_classes)
    labels = torch.randint(num_classes, (60,), generator=random)
    cluster_ids = torch.randint(num_clusters, (60,), generator=random)
    # A class without a sample in some cluster, and one that lies in one cluster alone.
    cluster_ids[labels == 0] = cluster_ids[labels == 0].clamp(max=num_clusters - 2)
    logits = torch.randn(60, num_classes, generator=random)
    found = expected_accuracies(logits, labels, cluster_ids)
    assert found.tolist() == pytest.approx(reference.expected_accuracies(logits, labels, cluster_ids))


def test_a_shortcut_shows_in_the_classes_that_are_not_asked() -> None:
    # Cluster 1 moves every logit of class 1 by 4, and samples of class 0 by far enough to be taken for class 1.
    labels = torch.tensor([0] * 100 + [1] * 100)
    cluster_ids = torch.tensor([0] * 99 + [1] + [0] * 50 + [1] * 50)
    signal = 2.0 * (2 * labels - 1) + torch.randn(200, generator=generator(0)).clamp(-1, 1)
    shortcut = torch.stack([torch.zeros(200), signal + 4.0 * cluster_ids], dim=1)
    honest = torch.stack([torch.zeros(200), signal], dim=1)
    small = (labels == 0) & (cluster_ids == 1)
    assert expected_accuracies(shortcut, labels, cluster_ids)[small].tolist() == [0.0]
    assert expected_accuracies(honest, labels, cluster_ids)[small].item() > 0.95
    # What the one sample of the cell is taken for has no say.
    spoiled = shortcut.clone()
    spoiled[small] = torch.tensor([[9.0, 0.0]])
    assert expected_accuracies(spoiled, labels, cluster_ids)[small].tolist() == [0.0]


def test_where_there_is_nothing_to_go_by_it_is_the_accuracy_of_the_class() -> None:
    labels, cluster_ids = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 0, 1, 1])
    logits = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.0, 1.0]])
    assert expected_accuracies(logits, labels, cluster_ids).tolist() == [0.5, 0.5, 1.0, 1.0]
