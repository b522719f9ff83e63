"""Class removal against counts of single samples."""

import numpy as np
import pytest
import torch
from torch import nn

from prusc.errors import DataError
from prusc.masks import BinaryMask
from prusc.stages.evaluation import wilson_interval
from prusc.stages.modularity import CONTROL, Examples, Part, make_removal_functions, measure_class_removal
from prusc.stages.modularity.class_removal import confusion_matrix
from prusc.stages.modularity.prediction import predict_outputs
from tests.networks import feed_of, generator, striped_split
from tests.reference import modularity as reference

NAMES = ("red", "green", "blue")


def noisy_examples(num_samples: int = 300) -> Examples:
    labels = torch.arange(num_samples) % 3
    return Examples(torch.eye(3)[labels] + 0.6 * torch.randn(num_samples, 3, generator=generator()), labels)


def removal_masks() -> dict[str, BinaryMask]:
    """The mask without a class lacks the row of its logit; that without blue takes a part of green along."""
    masks = {CONTROL: torch.ones(3, 3, dtype=torch.bool)}
    for label, name in enumerate(NAMES):
        kept = torch.ones(3, 3, dtype=torch.bool)
        kept[label] = False
        masks[f"without {name}"] = kept
    masks["without blue"][1, 1] = False
    return {name: BinaryMask({"weight": kept}) for name, kept in masks.items()}


def identity() -> nn.Module:
    model = nn.Linear(3, 3, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.eye(3))
    return model


def test_drops_and_confusions_are_those_of_the_slow_twin() -> None:
    model, data, masks = identity(), noisy_examples(), removal_masks()
    found = measure_class_removal(model, masks, data, NAMES)
    before = predict_outputs(model, masks[CONTROL], data)
    for label, entry in enumerate(found.removed):
        after = predict_outputs(model, masks[f"without {entry.name}"], data)
        arguments = before.tolist(), after.tolist(), data.labels.tolist()
        drops = [reference.relative_drop(*arguments, other) for other in range(3)]
        assert entry.drop == pytest.approx(drops[label])
        rest = [drop for other, drop in enumerate(drops) if other != label]
        assert entry.other_drop == pytest.approx(max(rest))
        assert entry.ratio == pytest.approx(max(max(rest), 0) / drops[label])
        for row in range(3):
            for column in range(3):
                count = sum(y == row and p == column for y, p in zip(arguments[2], arguments[1], strict=True))
                assert entry.confusion[row][column] == count
        num = sum(p == y == label for p, y in zip(arguments[1], arguments[2], strict=True))
        assert found.accuracy_after(label) == (num / 100, wilson_interval(num, 100))
    assert found.removed[2].most_hit == "green"
    assert found.removed[0].drop > 0.5 > found.removed[0].other_drop
    assert found.to_frame()["class"].tolist() == list(NAMES)
    assert "3 classes" in found._repr_html_()


def test_the_interval_of_the_drop_is_that_of_a_bootstrap_over_samples() -> None:
    model, data, masks = identity(), noisy_examples(), removal_masks()
    entry = measure_class_removal(model, masks, data, NAMES).removed[2]
    before, after = (predict_outputs(model, masks[name], data).numpy() for name in (CONTROL, "without blue"))
    labels, rng, drops, worst = data.labels.numpy(), np.random.default_rng(0), [], []
    for _ in range(1000):
        own = []
        for label in range(3):
            drawn = rng.choice(np.flatnonzero(labels == label), 100)
            own.append(1 - (after[drawn] == label).sum() / (before[drawn] == label).sum())
        drops.append(own[2])
        worst.append(max(own[:2]))
    assert entry.drop_ci95 == pytest.approx(tuple(np.quantile(drops, [0.025, 0.975])), abs=0.03)
    assert entry.other_drop_ci95 == pytest.approx(tuple(np.quantile(worst, [0.025, 0.975])), abs=0.03)
    assert entry.drop_ci95[0] <= entry.drop <= entry.drop_ci95[1]


def test_each_function_lacks_one_class() -> None:
    data = noisy_examples(30)
    functions = make_removal_functions(data, NAMES)
    assert list(functions) == [CONTROL, "without red", "without green", "without blue"]
    assert functions[CONTROL] is data
    for label, name in enumerate(NAMES):
        part = functions[f"without {name}"]
        assert isinstance(part, Part)
        assert (len(part), label in part.labels.tolist()) == (20, False)
    feeds = make_removal_functions(feed_of(striped_split(30)), NAMES)
    assert [len(feed) for feed in feeds.values()] == [30, 20, 20, 20]


def test_a_class_that_was_never_right_does_not_drop() -> None:
    masks = removal_masks()
    masks[CONTROL] = masks["without red"]
    data = Examples(torch.eye(3).repeat(4, 1) * 2, torch.arange(12) % 3)
    silent = nn.Linear(3, 3)
    with torch.no_grad():
        silent.weight.copy_(torch.eye(3))
        silent.bias.copy_(torch.tensor([-1.0, 0.0, 0.0]))
    entry = measure_class_removal(silent, masks, data, NAMES).removed[0]
    assert (entry.drop, entry.ratio) == (0, None)


def test_confusions_are_counts() -> None:
    labels, predictions = torch.tensor([0, 0, 1]), torch.tensor([1, 0, 1])
    assert confusion_matrix(predictions, labels, 2).tolist() == [[1, 1], [0, 1]]


def test_data_without_a_class_are_refused() -> None:
    data = noisy_examples(30)
    with pytest.raises(DataError, match="at least 3 classes, found 2"):
        make_removal_functions(data, NAMES[:2])
    with pytest.raises(DataError, match="class 'grey' has no samples"):
        make_removal_functions(data, (*NAMES, "grey"))
    few = data.subset((data.labels != 1).nonzero()[:, 0])
    with pytest.raises(DataError, match="class 'green' has no test samples"):
        measure_class_removal(identity(), removal_masks(), few, NAMES)
