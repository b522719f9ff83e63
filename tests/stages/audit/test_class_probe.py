"""A border and a background that tell the class, and some that do not."""

import pytest
import torch

from prusc.stages.audit.class_probe import balanced_accuracy, probe_class, take_part
from tests.stages.audit import planted
from tests.stages.audit.planted import generator, make_pictures


def test_a_frame_of_one_class_is_a_warning_for_the_border() -> None:
    pictures, labels, _ = make_pictures(0, 120)
    framed = planted.change(pictures, labels == 1, planted.frame)
    found = probe_class(take_part(framed, "border"), labels, "border", generator=generator())
    assert found is not None
    assert (found.part, found.num_samples, found.chance) == ("border", 120, 0.5)
    assert found.accuracy > 0.95
    assert found.tells_class


def test_what_lies_in_the_centre_is_no_warning() -> None:
    # The classes of these pictures differ in a square in the centre only.
    warnings = 0
    for seed in range(10):
        pictures, labels, _ = make_pictures(seed, 120)
        for part in ("border", "background"):
            found = probe_class(take_part(pictures, part), labels, part, generator=generator(seed))
            assert found is not None
            low, high = found.ci95
            assert low <= found.accuracy <= high
            warnings += found.tells_class
    assert warnings <= 1


def test_the_parts_hold_what_their_names_say() -> None:
    images = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    images[:, :, 4:-4, 4:-4] = 255
    assert (take_part(images, "border") == 0).all()
    assert take_part(images, "border").shape == (1, 60 * 3)
    images = torch.zeros(1, 1, 64, 64, dtype=torch.uint8)
    images[:, :, 16:-16, 16:-16] = 255
    assert (take_part(images, "background") == 0).all()
    assert take_part(images, "background").shape == (1, 48 * 3)


def test_rare_classes_are_left_out() -> None:
    labels = torch.tensor([0] * 30 + [1] * 4)
    assert probe_class(torch.randn(34, 2, generator=generator()), labels, "border", generator=generator()) is None
    labels = torch.tensor([3] * 30 + [1] * 4 + [0] * 30)
    values = torch.nn.functional.one_hot(labels, 4).float()
    found = probe_class(values, labels, "border", generator=generator())
    assert found is not None
    assert (found.num_samples, found.chance, found.accuracy) == (60, 0.5, 1.0)


def test_the_interval_holds_the_balanced_accuracy_as_often_as_it_says() -> None:
    labels = torch.tensor([0] * 60 + [1] * 20)
    held = 0
    for seed in range(400):
        right = torch.rand(80, generator=generator(seed)) < torch.where(labels == 0, 0.9, 0.6)
        accuracy, (low, high) = balanced_accuracy(right, labels)
        assert accuracy == pytest.approx((right[:60].double().mean().item() + right[60:].double().mean().item()) / 2)
        held += low <= 0.75 <= high
    assert 0.92 <= held / 400 <= 0.98
