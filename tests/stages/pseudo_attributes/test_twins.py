import pytest
import torch
from torch import Tensor

from prusc.config import TwinsConfig
from prusc.errors import DataError
from prusc.stages.pseudo_attributes.twins import (
    TwinSettings,
    _read_ids,
    draw_settings,
    flip_probabilities,
    infer_by_twins,
    train_twins,
)
from tests.networks import generator
from tests.reference import twins as reference

STEPS = 40


def samples(
    num: int = 60, num_classes: int = 3, seed: int = 0, conflicting: float = 0.1
) -> tuple[Tensor, Tensor, Tensor]:
    """Features in which a shortcut is easier than the class; also where each sample's shortcut points."""
    source = generator(seed)
    labels = torch.arange(num) % num_classes
    shortcut = torch.where(torch.rand(num, generator=source) < conflicting, (labels + 1) % num_classes, labels)
    features = torch.cat([3 * torch.eye(num_classes)[shortcut], torch.eye(num_classes)[labels]], dim=1)
    return features + 0.3 * torch.randn(features.shape, generator=source), labels, shortcut


def test_all_draws_at_once_equal_their_slow_twin() -> None:
    features, labels, _ = samples()
    features = torch.cat([features, torch.ones(60, 1)], dim=1)
    own = torch.randint(2, (2, 60), generator=generator(1))
    settings = TwinSettings(torch.tensor([0.03, 0.2]), torch.tensor([0.01, 0.1]), torch.tensor([7, 12]))
    heads, dynamic = train_twins(features, labels, own, settings, num_classes=3, steps=STEPS, generator=generator(2))
    source = generator(2)
    numbers = [(torch.randint(60, (12,), generator=source), torch.rand(2, 12, generator=source)) for _ in range(STEPS)]
    batches = [batch.tolist() for batch, _ in numbers]
    for draw in range(2):
        uniform = [of_all[draw].tolist() for _, of_all in numbers]
        of_draw = (settings.rates[draw].item(), settings.decays[draw].item(), int(settings.sizes[draw]))
        expected, labels_then = reference.train_twins(features, labels, own[draw].tolist(), batches, uniform, of_draw)
        torch.testing.assert_close(heads[draw], torch.stack(expected), atol=1e-4, rtol=1e-3)
        assert dynamic[draw].tolist() == labels_then
        ids = _read_ids(features, labels, heads[draw, None])[0]
        assert ids.tolist() == reference.read_ids(features, labels, expected)
    assert (dynamic != labels).any(), "no label flipped, so the test shows too little"


def test_a_label_flips_surely_where_the_other_twin_is_sure_and_never_where_it_guesses() -> None:
    rows = torch.tensor([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.1, 0.3, 0.6]])
    assert flip_probabilities(rows).tolist() == pytest.approx([1.0, 0.0, (0.6 - 1 / 3) * 1.5], abs=1e-6)


def test_the_shortcut_is_found_in_both_splits_with_its_direction() -> None:
    features, labels, shortcut = samples(400)
    features_val, labels_val, shortcut_val = samples(200, seed=1)
    found = infer_by_twins(features, labels, features_val, labels_val, TwinsConfig(steps=600, draws=4), generator(3))
    assert found.is_complete
    assert found.flip_rate == pytest.approx((shortcut != labels).double().mean().item(), abs=0.03)
    for ids, expected, own in ((found.train, shortcut, labels), (found.val, shortcut_val, labels_val)):
        conflicting = expected != own
        assert (ids[conflicting] == expected[conflicting]).double().mean() > 0.9
        assert (ids[~conflicting] == own[~conflicting]).double().mean() > 0.97


def test_scale_and_offset_of_the_features_and_a_constant_unit_change_nothing() -> None:
    features, labels, _ = samples()
    config = TwinsConfig(steps=50, draws=2)
    once = infer_by_twins(features, labels, features, labels, config, generator(3))
    moved = torch.cat([features * 100 + 7, torch.full((60, 1), 5.0)], dim=1)
    again = infer_by_twins(moved, labels, moved, labels, config, generator(3))
    assert torch.equal(once.train, again.train)
    assert once.flip_rate == again.flip_rate


def test_the_draw_with_the_most_environments_counts_then_the_one_that_flips_most(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    labels = torch.arange(12) % 2
    features = torch.where(torch.arange(12) < 2, 1 - labels, labels)[:, None].float() * 2 - 1
    right, by_shortcut = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([[-9.0, 0.0], [9.0, 0.0]])
    of_draws = [right, by_shortcut, by_shortcut, right]
    flips = [9, 1, 2, 8]

    def pretend(*_: object, **__: object) -> tuple[Tensor, Tensor]:
        dynamic = torch.stack([torch.where(torch.arange(12) < number, 1 - labels, labels) for number in flips])
        return torch.stack([torch.stack([head, head]) for head in of_draws]), dynamic

    monkeypatch.setattr("prusc.stages.pseudo_attributes.twins.train_twins", pretend)
    found = infer_by_twins(features, labels, features, labels, TwinsConfig(draws=4), generator())
    # The heads of zeros predict class 0, so that one class lacks an environment.
    assert found.flip_rate == pytest.approx(2 / 12)
    assert found.is_complete
    assert found.train.tolist() == [1, 0, *labels[2:].tolist()]
    of_draws[1:3] = [right, right]
    found = infer_by_twins(features, labels, features, labels, TwinsConfig(draws=4), generator())
    assert found.flip_rate == pytest.approx(9 / 12)
    assert not found.is_complete


def test_the_settings_are_drawn_from_the_published_ranges() -> None:
    settings = draw_settings(TwinsConfig(draws=500), generator())
    for values, low, high in (
        (settings.rates.log10(), -5, -3),
        (settings.decays.log10(), -6, -3),
        (settings.sizes.double().log2(), 5, 7),
    ):
        assert low - 1e-4 <= values.min() < low + 0.1 * (high - low)
        assert high - 0.1 * (high - low) < values.max() <= high
        assert values.double().mean().item() == pytest.approx((low + high) / 2, abs=0.1 * (high - low))


def test_a_single_class_is_refused() -> None:
    features, labels = torch.rand(6, 2), torch.zeros(6, dtype=torch.long)
    with pytest.raises(DataError, match="at least two classes, found 1"):
        infer_by_twins(features, labels, features, labels)
