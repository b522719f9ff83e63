import pytest
import torch

from prusc.methods.dpe import DPESettings, PrototypeHead, _fit_member, _mean_similarity, balanced_subset, standardise
from tests.networks import generator
from tests.reference import methods as reference


@pytest.mark.parametrize("seed", range(3))
def test_the_head_equals_its_slow_twin(seed: int) -> None:
    source = generator(seed)
    head = PrototypeHead(3, 4, 5)
    head.prototypes.data = torch.randn(3, 4, 5, generator=source)
    head.scales.data = torch.tensor([1.5, -0.5, 4.0])
    representations = 3 * torch.randn(6, 5, generator=source)
    logits = head(representations)
    for row, representation in zip(logits.tolist(), representations.tolist(), strict=True):
        expected = reference.prototype_logits(representation, head.prototypes.tolist(), head.scales.tolist())
        assert row == pytest.approx(expected, abs=1e-4)
    assert logits.exp().sum(dim=1).tolist() == pytest.approx([1.0] * 6, rel=1e-5)


def test_a_representation_without_spread_is_no_error() -> None:
    assert PrototypeHead(2, 3, 4)(torch.ones(2, 4)).isfinite().all()


def test_a_subset_has_every_class_as_often_as_the_smallest() -> None:
    labels = torch.tensor([0] * 9 + [2] * 4 + [3] * 20)
    chosen = balanced_subset(labels, generator())
    assert torch.bincount(labels[chosen]).tolist() == [4, 0, 4, 4]
    assert chosen.unique().numel() == 12
    assert not torch.equal(chosen, balanced_subset(labels, generator(1)))


def test_a_member_learns_the_classes_and_keeps_away_from_those_before() -> None:
    source = generator(5)
    labels = torch.arange(300) % 3
    centres = torch.randn(3, 8, generator=source)
    directions = standardise(centres[labels] + 0.3 * torch.randn(300, 8, generator=source))
    first, scale = _fit_member(directions, labels, torch.empty(0, 3, 8), DPESettings(epochs=60), generator())
    head = PrototypeHead(1, 3, 8)
    head.load_state_dict({"prototypes": first[None], "scales": scale[None]})
    assert (head(directions).argmax(dim=1) == labels).float().mean() > 0.9

    def similarity(diversity: float) -> float:
        settings = DPESettings(epochs=60, diversity=diversity)
        member, _ = _fit_member(directions, labels, first[None], settings, generator(9))
        return torch.cosine_similarity(member, first, dim=1).mean().abs().item()

    assert similarity(150.0) < similarity(0.0) - 0.1


def test_the_mean_similarity_leaves_each_member_itself_out() -> None:
    one, other = torch.eye(3)[:2], torch.eye(3)[1:]
    assert _mean_similarity(torch.stack([one, 2 * one, other])) == pytest.approx(1 / 3)
    assert _mean_similarity(one[None]) == 1.0
