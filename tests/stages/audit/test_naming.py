"""The name of a planted shortcut, and no name where there is none."""

import random
import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from prusc.stages.audit.image_features import IMAGE_FEATURES, Feature, measure_images
from prusc.stages.audit.naming import Difference, difference_p_values, measure_differences, name_values
from tests.reference.differences import max_t_p_values, stratified_auc, stratified_difference
from tests.stages.audit import planted
from tests.stages.audit.planted import generator, make_pictures


def name(pictures: Tensor, labels: Tensor, values: Tensor, *, num_permutations: int = 199) -> tuple[Difference, ...]:
    """Name the samples of value 1."""
    found = name_values(
        measure_images(pictures),
        IMAGE_FEATURES,
        labels,
        values,
        [1],
        num_permutations=num_permutations,
        generator=generator(),
    )
    return found[1]


@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (planted.brighten, "whole picture: lighter"),
        (planted.tint, "whole picture: redder"),
        (planted.add_sticker, "left: bluer"),
        (planted.blur, "whole picture: blurrier"),
        (planted.stretch, "whole picture: more contrast"),
        (planted.frame, "border: darker"),
    ],
)
def test_what_was_planted_comes_first(plant: Callable[[Tensor], Tensor], expected: str) -> None:
    pictures, labels, values = make_pictures(0)
    found = name(planted.change(pictures, values == 1, plant), labels, values)
    assert found[0].text == expected, [(item.text, round(item.effect, 2)) for item in found[:5]]
    assert found[0].p_value == 1 / 200
    assert found[0].follows is None
    low, high = found[0].ci95
    assert low < found[0].difference < high
    assert low * high > 0
    assert found[0].inside - found[0].outside == pytest.approx(found[0].difference)


def test_the_consequences_of_a_planted_light_follow_from_it() -> None:
    pictures, labels, values = make_pictures(1)
    found = name(planted.change(pictures, values == 1, planted.brighten), labels, values)
    corners = [item for item in found if item.feature.startswith("light/") and item is not found[0]]
    assert len(corners) == 10
    assert all(item.follows == "light/whole picture" for item in corners)


def test_two_plants_that_occur_together_are_both_named() -> None:
    pictures, labels, values = make_pictures(2)
    both = planted.change(planted.change(pictures, values == 1, planted.add_sticker), values == 1, planted.brighten)
    found = [item.text for item in name(both, labels, values) if item.follows is None]
    assert "left: bluer" in found
    assert "whole picture: lighter" in found


def test_a_difference_between_the_classes_is_no_difference_of_a_value() -> None:
    pictures, labels, values = make_pictures(3, 600)
    found = name(planted.change(pictures, labels == 1, planted.brighten), labels, values)
    assert found == ()


def test_data_without_a_shortcut_get_no_name() -> None:
    alarms = 0
    for seed in range(20):
        pictures, labels, values = make_pictures(100 + seed, 160)
        alarms += bool(name(pictures, labels, values, num_permutations=99))
    # Each has a chance of 5 %, so more than three of 20 come once in 60 times.
    assert alarms <= 3


def test_sizes_equal_those_of_a_slow_twin() -> None:
    source = generator(4)
    labels = torch.randint(3, (60,), generator=source)
    inside = torch.rand(60, generator=source) < 0.3
    features = torch.randn(60, 2, generator=source) + inside[:, None] * torch.tensor([1.0, 0.0])
    features[:, 1] = features[:, 1].round()  # With ties.
    found = measure_differences(features, labels, inside)
    for column in range(2):
        plain = features[:, column].double().tolist(), labels.tolist(), inside.tolist()
        assert found.auc[column].item() == pytest.approx(stratified_auc(*plain))
        assert found.difference[column].item() == pytest.approx(stratified_difference(*plain))


def test_the_interval_holds_the_true_difference_as_often_as_it_says() -> None:
    held = 0
    labels, inside = torch.arange(60) % 2, torch.arange(60) % 5 == 0
    for seed in range(200):
        noise = torch.randn(60, 1, generator=generator(seed)) * torch.where(inside, 2.0, 1.0)[:, None]
        found = measure_differences(noise + 0.7 * inside[:, None] + 5 * labels[:, None], labels, inside)
        held += bool(found.low[0] <= 0.7 <= found.high[0])
    assert 0.91 <= held / 200 <= 0.99


def test_p_values_equal_those_of_a_slow_twin() -> None:
    source = generator(5)
    labels = torch.randint(2, (40,), generator=source)
    values = torch.randint(3, (40,), generator=source)
    features = torch.randn(40, 3, generator=source)
    features[:, 0] += 0.9 * (values == 2)
    features[:, 2] = features[:, 2].round()
    found = difference_p_values(features, labels, values, [0, 2], 3000, generator())
    columns = [column.double().tolist() for column in features.T]
    expected = max_t_p_values(columns, labels.tolist(), values.tolist(), [0, 2], 400, random.Random(0))
    assert torch.allclose(found, torch.tensor(expected, dtype=torch.float64), atol=0.06)


def test_what_does_not_vary_or_has_no_counterpart_is_not_named() -> None:
    labels = torch.tensor([0] * 20 + [1] * 20)
    values = labels.clone()  # Each value is one class, so nothing can be compared.
    features = torch.randn(40, 2, generator=generator())
    features[:, 1] = 3.0
    described = [Feature("a", "a", "more", "less", "units"), Feature("b", "b", "more", "less", "units")]
    found = name_values(features, described, labels, values, [0, 1, 7], num_permutations=19, generator=generator())
    assert found == {0: (), 1: (), 7: ()}
    sizes = measure_differences(features, labels, values == 1)
    assert (sizes.effect.tolist(), sizes.auc.tolist()) == ([0.0, 0.0], [0.5, 0.5])


def test_without_a_feature_nothing_is_named_and_nothing_is_warned_of() -> None:
    labels, values = torch.arange(20) % 2, torch.arange(20) // 10
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = name_values(torch.empty(20, 0), (), labels, values, [1], num_permutations=9, generator=generator())
    assert found == {1: ()}
