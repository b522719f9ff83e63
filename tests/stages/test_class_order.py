from itertools import permutations

import pytest
import torch

from prusc.stages.class_order import find_class_order
from tests.networks import generator


@pytest.mark.parametrize("num_classes", [2, 3, 4])
@pytest.mark.parametrize("seed", range(4))
def test_the_best_order_is_that_of_all_orders(num_classes: int, seed: int) -> None:
    source = generator(seed)
    labels = torch.randint(num_classes, (40,), generator=source)
    predictions = torch.randint(num_classes, (40,), generator=source)
    found = find_class_order(predictions, labels, num_classes)
    accuracies = {
        order: sum(order[p] == y for p, y in zip(predictions.tolist(), labels.tolist(), strict=True)) / 40
        for order in permutations(range(num_classes))
    }
    assert found.best_accuracy == pytest.approx(max(accuracies.values()))
    assert accuracies[found.best_order] == pytest.approx(found.best_accuracy)
    assert found.accuracy == pytest.approx(accuracies[tuple(range(num_classes))])


def test_only_what_chance_does_not_explain_is_told() -> None:
    labels = torch.arange(300) % 3
    swapped = torch.tensor([0, 2, 1])[labels]  # grade1, grade2, grade10, and the order of the alphabet
    assert find_class_order(swapped, labels, 3).fits_better
    assert find_class_order(swapped, labels, 3).best_order == (0, 2, 1)
    assert not find_class_order(labels, labels, 3).fits_better
    assert find_class_order(labels, labels, 3).best_order == (0, 1, 2)
    for seed in range(20):
        guesses = torch.randint(3, (300,), generator=generator(seed))
        assert not find_class_order(guesses, labels, 3).fits_better
    assert not find_class_order(swapped[:6], labels[:6], 3).fits_better
    # A network for two classes that follows a shortcut the wrong way round somewhat more often than not.
    assert not find_class_order((labels == 0).long(), (torch.arange(300) % 2), 2).fits_better
