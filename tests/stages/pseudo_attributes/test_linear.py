"""A linear model finds a planted shortcut, and no sample has a say in its own prediction."""

import pytest
import torch
from torch import Tensor

from prusc.errors import DataError
from prusc.stages.heads import fit_head
from prusc.stages.pseudo_attributes.linear import predict_linearly
from tests.networks import generator


def samples(number: int, seed: int = 0, num_classes: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    """Representations, classes and shortcut: an easy shortcut that agrees with 19 of 20 samples, and a faint class."""
    source = generator(seed)
    labels = torch.randint(num_classes, (number,), generator=source)
    agrees = torch.rand(number, generator=source) < 0.95
    shortcut = torch.where(agrees, labels, (labels + 1) % num_classes)
    one_hot = torch.eye(num_classes)
    values = torch.cat([6 * one_hot[shortcut], one_hot[labels], torch.zeros(number, 4)], dim=1)
    return values + torch.randn(values.shape, generator=source), labels, shortcut


@pytest.mark.parametrize("num_classes", [2, 3])
def test_the_shortcut_is_predicted_in_both_splits(num_classes: int) -> None:
    train, labels, shortcut = samples(400, num_classes=num_classes)
    val, val_labels, val_shortcut = samples(200, seed=1, num_classes=num_classes)
    found = predict_linearly({"train": train, "val": val}, labels, num_classes=num_classes, generator=generator())
    for name, own, planted in (("train", labels, shortcut), ("val", val_labels, val_shortcut)):
        predictions = found[name].argmax(dim=1)
        conflicting, expected = predictions != own, planted != own
        both = (conflicting & expected).sum().item()
        # Of 20 samples one conflicts, so that a guess would have a precision of 0.05.
        assert both / conflicting.sum().item() > 0.75, "precision"
        assert both / expected.sum().item() > 0.85, "recall"
        # Not only that a sample conflicts, but whose shortcut it shows.
        assert (predictions == planted)[expected].double().mean() > 0.85


@pytest.mark.parametrize("num_folds", [2, 5])
def test_logits_equal_those_of_a_slow_twin(num_folds: int) -> None:
    values, labels, _ = samples(47, num_classes=3)
    val = values[:6] + 1
    found = predict_linearly(
        {"train": values, "val": val}, labels, num_classes=3, l2=0.3, num_folds=num_folds, generator=generator(4)
    )
    # Cards in random order, sorted by class, are dealt to the folds in turn.
    order = sorted(torch.randperm(47, generator=generator(4)).tolist(), key=lambda index: int(labels[index]))
    fold_of = {index: place % num_folds for place, index in enumerate(order)}
    counts = [labels.tolist().count(label) for label in range(3)]

    def logits_of(members: list[int], rows: Tensor) -> Tensor:
        weights = torch.tensor([1 / counts[int(labels[index])] for index in members], dtype=torch.float64)
        return fit_head(values[members], labels[members], weights, l2=0.3, num_classes=3).logits(rows)

    for index in range(47):
        others = [other for other in range(47) if fold_of[other] != fold_of[index]]
        torch.testing.assert_close(found["train"][index], logits_of(others, values[[index]])[0], atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(found["val"], logits_of(list(range(47)), val), atol=1e-3, rtol=1e-3)


def test_a_sample_changes_no_prediction_of_its_own_fold() -> None:
    values, labels, _ = samples(60)
    changed = values.clone()
    changed[7] *= 100
    before, after = (
        predict_linearly({"train": own, "val": values[:1]}, labels, num_classes=2, generator=generator())["train"]
        for own in (values, changed)
    )
    same = (before == after).all(dim=1)
    # It is itself in its fold of twelve; the eleven others are predicted as before, those of each class alike.
    assert same.sum() == 11
    assert not same[7]
    own_fold = same.clone()
    own_fold[7] = True
    expected = torch.bincount(labels).double() / 5
    assert ((torch.bincount(labels[own_fold], minlength=2) - expected).abs() < 1).all()


def test_what_is_learned_by_heart_is_not_predicted() -> None:
    labels = torch.arange(40) % 2
    values = torch.randn(40, 60, generator=generator())
    found = predict_linearly({"train": values, "val": values}, labels, num_classes=2, l2=1e-3, generator=generator())
    assert (found["val"].argmax(dim=1) == labels).all()
    assert 0.25 < (found["train"].argmax(dim=1) == labels).double().mean() < 0.75


def test_a_rare_class_counts_as_much_as_a_frequent_one() -> None:
    source = generator(2)
    labels = (torch.arange(400) % 20 == 0).long()
    values = 1.5 * labels[:, None] + torch.randn(400, 1, generator=source)
    found = predict_linearly({"train": values, "val": values}, labels, num_classes=2, generator=generator())
    for logits in found.values():
        recalls = [(logits.argmax(dim=1) == label)[labels == label].double().mean().item() for label in (0, 1)]
        # Without weights hardly any sample of the rare class would be recognised.
        assert min(recalls) > 0.6


def test_a_class_without_a_sample_is_never_predicted() -> None:
    values, labels, _ = samples(60)
    found = predict_linearly({"train": values, "val": values}, 2 * labels, num_classes=4, generator=generator())
    for logits in found.values():
        assert logits.shape == (60, 4)
        assert set(logits.argmax(dim=1).tolist()) == {0, 2}


def test_a_single_class_is_refused_and_a_class_of_one_sample_is_not() -> None:
    labels = torch.zeros(20, dtype=torch.long)
    seen = {"train": torch.rand(20, 2), "val": torch.rand(1, 2)}
    with pytest.raises(DataError, match="at least two classes, found 1"):
        predict_linearly(seen, labels, num_classes=2, generator=generator())
    labels[3] = 1
    assert predict_linearly(seen, labels, num_classes=2, generator=generator())["train"].isfinite().all()
