import pytest
import torch
from torch import Tensor

from prusc.config import DebiasingSetConfig
from prusc.errors import DataError
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import DebiasingSet, build_debiasing_set
from tests.networks import generator
from tests.reference import cells as reference

# Class by cluster; class 1 is missing from cluster 1.
SIZES = torch.tensor([[40, 8, 2], [25, 0, 5], [1, 3, 16]])


def samples(sizes: Tensor = SIZES, seed: int = 0) -> tuple[Tensor, Tensor]:
    labels = torch.arange(len(sizes)).repeat_interleave(sizes.sum(1))
    cluster_ids = torch.cat([torch.arange(sizes.shape[1]).repeat_interleave(row) for row in sizes])
    order = torch.randperm(len(labels), generator=generator(seed))
    return labels[order], cluster_ids[order]


def build(sizes: Tensor = SIZES, **settings: object) -> DebiasingSet:
    labels, cluster_ids = samples(sizes)
    config = DebiasingSetConfig(**settings)  # type: ignore[arg-type]
    return build_debiasing_set(Cells(labels, cluster_ids, num_classes=len(sizes), num_values=sizes.shape[1]), config)


def cell_shares(chosen: DebiasingSet, num_classes: int = 3) -> Tensor:
    num_values = chosen.cells.num_values
    shares = torch.zeros(num_classes * num_values, dtype=torch.float64)
    return shares.index_add_(0, chosen.cells.ids, chosen.weights.double()).view(num_classes, num_values)


@pytest.mark.parametrize("min_cell_size", [1, 3, 6])
@pytest.mark.parametrize("cell_exponent", [0.0, 0.5, 1.0])
def test_weights_equal_their_slow_twin(cell_exponent: float, min_cell_size: int) -> None:
    chosen = build(cell_exponent=cell_exponent, min_cell_size=min_cell_size)
    labels, cluster_ids = chosen.cells.labels.tolist(), chosen.cells.attribute_ids.tolist()
    expected = reference.draw_weights(labels, cluster_ids, cell_exponent, min_cell_size)
    torch.testing.assert_close(chosen.weights.double(), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("cell_exponent", [0.0, 0.3, 1.0])
def test_each_class_has_the_same_share(cell_exponent: float) -> None:
    shares = cell_shares(build(cell_exponent=cell_exponent))
    torch.testing.assert_close(shares.sum(1), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_by_default_the_cells_of_a_class_have_the_same_share() -> None:
    expected = torch.tensor([[1 / 9] * 3, [1 / 6, 0, 1 / 6], [1 / 9] * 3], dtype=torch.float64)
    torch.testing.assert_close(cell_shares(build()), expected)


def test_the_exponent_goes_from_equal_cells_to_the_class_as_it_is() -> None:
    within = SIZES / SIZES.sum(1, keepdim=True)
    torch.testing.assert_close(cell_shares(build(cell_exponent=1.0)), within.double() / 3)
    root = SIZES.double().sqrt()
    torch.testing.assert_close(cell_shares(build(cell_exponent=0.5)), root / root.sum(1, keepdim=True) / 3)


def test_cells_below_the_smallest_size_are_never_drawn() -> None:
    chosen = build(min_cell_size=5)
    small = (SIZES < 5)[chosen.cells.labels, chosen.cells.attribute_ids]
    assert (chosen.weights[small] == 0).all()
    assert (chosen.weights[~small] > 0).all()
    drawn = chosen.draw(20_000, generator())
    assert not small[drawn].any()
    torch.testing.assert_close(cell_shares(chosen).sum(1), torch.full((3,), 1 / 3, dtype=torch.float64))


def test_a_class_without_a_cell_leaves_its_share_to_the_others() -> None:
    sizes = torch.tensor([[9, 9], [1, 2], [7, 0]])
    shares = cell_shares(build(sizes, min_cell_size=5))
    torch.testing.assert_close(shares.sum(1), torch.tensor([0.5, 0, 0.5], dtype=torch.float64))


def test_no_cell_of_the_smallest_size_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no cell .* has 41 samples, the largest has 40; lower debiasing_set.min_cell"):
        build(min_cell_size=41)
    build(min_cell_size=40)


def test_draws_have_the_frequencies_of_the_weights() -> None:
    chosen = build(cell_exponent=0.2, min_cell_size=2)
    num_draws = 200_000
    counts = torch.bincount(chosen.draw(num_draws, generator(5)), minlength=len(chosen.weights))
    expected = chosen.weights.double()
    error = (expected * (1 - expected) / num_draws).sqrt()
    assert ((counts / num_draws - expected).abs() <= 5 * error).all()


def test_draws_are_in_range_and_decided_by_the_generator() -> None:
    chosen = build()
    first, again, other = (chosen.draw(500, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert first.dtype == torch.int64
    assert first.min() >= 0
    assert first.max() < len(chosen.weights)
    state = torch.get_rng_state()
    chosen.draw(5, generator())
    assert torch.equal(torch.get_rng_state(), state)


def test_samples_without_weight_are_not_drawn_at_the_ends_either() -> None:
    weights = torch.tensor([0.0, 0.0, 0.5, 0.0, 0.5, 0.0])
    chosen = DebiasingSet(Cells(*torch.zeros(2, 6, dtype=torch.long)), weights)
    assert set(chosen.draw(10_000, generator()).tolist()) == {2, 4}


def test_not_even_a_draw_of_zero_finds_a_sample_without_weight(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = torch.tensor([0.0, 0.5, 0.0, 0.5])
    chosen = DebiasingSet(Cells(*torch.zeros(2, 4, dtype=torch.long)), weights)
    monkeypatch.setattr(torch, "rand", lambda *_, dtype, **__: torch.tensor([0.0, 0.5], dtype=dtype))
    assert chosen.draw(2, generator()).tolist() == [1, 3]


def test_the_class_says_nothing_about_the_cluster_in_a_draw() -> None:
    # The point of the whole stage: 95 % agreement in the data, none in what is drawn.
    chosen = build(torch.tensor([[950, 50], [50, 950]]))
    drawn = chosen.draw(20_000, generator())
    agreement = (chosen.cells.labels == chosen.cells.attribute_ids)[drawn].double().mean().item()
    assert agreement == pytest.approx(0.5, abs=0.02)
