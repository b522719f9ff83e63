import pytest
import torch
from torch import Tensor

from prusc.config import DebiasingSetConfig
from prusc.stages.cells import Cells
from prusc.stages.cross_fitting import Folds, make_folds
from prusc.stages.debiasing_set import build_debiasing_set
from prusc.stages.heads import fit_head
from tests.networks import generator

NUM_FOLDS = 5


def samples(seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Representations, classes and clusters; one cell is small."""
    source = generator(seed)
    labels = torch.arange(90) % 3
    cluster_ids = torch.where(torch.rand(90, generator=source) < 0.2, labels.flip(0) % 2, labels % 2)
    values = torch.randn(90, 6, generator=source) + labels[:, None] * torch.tensor([1.0, 0.5, 0, 0, 0, 0])
    return values, labels, cluster_ids


def cells_of(labels: Tensor, cluster_ids: Tensor) -> Cells:
    return Cells(labels, cluster_ids, num_classes=3, num_values=2)


def make(labels: Tensor, cluster_ids: Tensor, config: DebiasingSetConfig | None = None) -> Folds:
    cells = cells_of(labels, cluster_ids)
    return make_folds(cells, config or DebiasingSetConfig(), num_folds=NUM_FOLDS, generator=generator(7))


def test_every_cell_is_divided_evenly_among_the_folds() -> None:
    _, labels, cluster_ids = samples()
    folds = make(labels, cluster_ids)
    cells = cells_of(labels, cluster_ids).ids
    counts = torch.bincount(cells * NUM_FOLDS + folds.fold_ids, minlength=6 * NUM_FOLDS).view(6, NUM_FOLDS)
    assert counts.sum() == 90
    assert (counts.max(dim=1).values - counts.min(dim=1).values).max() <= 1
    assert torch.equal(folds.fold_ids, make(labels, cluster_ids).fold_ids)


@pytest.mark.parametrize("settings", [{}, {"min_cell_size": 8}, {"cell_exponent": 0.5}])
def test_each_fold_is_answered_by_a_head_of_the_others_alone(settings: dict[str, float]) -> None:
    values, labels, cluster_ids = samples()
    config = DebiasingSetConfig(**settings)  # type: ignore[arg-type]
    folds = make(labels, cluster_ids, config)
    head, logits = folds.fit(values, num_classes=3, l2=0.1)
    for fold in range(NUM_FOLDS + 1):
        # The last is no fold: the head that is kept is fitted on all.
        seen = folds.fold_ids != fold
        drawn = build_debiasing_set(cells_of(labels, cluster_ids).subset(seen.nonzero()[:, 0]), config)
        expected = fit_head(values[seen], labels[seen], drawn.weights, num_classes=3, l2=0.1)
        if fold == NUM_FOLDS:
            torch.testing.assert_close(tuple(head), tuple(expected))
        else:
            torch.testing.assert_close(logits[~seen], values[~seen] @ expected[0].T + expected[1])


def test_no_sample_has_a_say_in_its_own_answer() -> None:
    values, labels, cluster_ids = samples()
    folds = make(labels, cluster_ids)
    before = folds.fit(values, num_classes=3, l2=0.1)[1]
    changed = values.clone()
    changed[4] *= 100
    after = folds.fit(changed, num_classes=3, l2=0.1)[1]
    same_fold = folds.fold_ids == folds.fold_ids[4]
    same_fold[4] = False
    assert torch.equal(before[same_fold], after[same_fold])
    assert not torch.equal(before[~same_fold], after[~same_fold])


def test_what_is_learned_by_heart_judges_no_head() -> None:
    source = generator(1)
    values, labels = torch.randn(90, 200, generator=source), torch.randint(0, 3, (90,), generator=source)
    folds = make(labels, torch.arange(90) % 2)
    head, logits = folds.fit(values, num_classes=3, l2=1e-3)
    assert (head.logits(values).argmax(dim=1) == labels).all()
    assert (logits.argmax(dim=1) == labels).float().mean() < 0.5


def test_a_layer_without_a_bias_is_judged_without_one() -> None:
    values, labels, cluster_ids = samples()
    folds = make(labels, cluster_ids)
    (weight, bias), logits = folds.fit(values, num_classes=3, l2=0.1)
    (same_weight, zero), other = folds.fit(values, num_classes=3, l2=0.1, has_bias=False)
    assert torch.equal(weight, same_weight)
    assert bias.abs().min() > 0
    assert (zero == 0).all()
    # The same answers but for one constant a fold.
    for fold in range(NUM_FOLDS):
        difference = (logits - other)[folds.fold_ids == fold]
        torch.testing.assert_close(difference, difference[:1].expand_as(difference))
        assert difference.abs().max() > 0
