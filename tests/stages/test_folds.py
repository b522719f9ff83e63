import torch

from prusc.stages.folds import draw_folds
from tests.networks import generator


def test_each_fold_has_its_share_of_every_stratum() -> None:
    strata = torch.tensor([0] * 13 + [2] * 7 + [1] * 30)[torch.randperm(50, generator=generator(7))]
    folds = draw_folds(strata, 4, generator())
    sizes = torch.bincount(folds, minlength=4)
    assert sizes.max() - sizes.min() <= 1
    for stratum, count in ((0, 13), (1, 30), (2, 7)):
        own = torch.bincount(folds[strata == stratum], minlength=4)
        assert own.sum() == count
        assert own.max() - own.min() <= 1


def test_the_generator_decides() -> None:
    strata = torch.arange(40) % 2
    assert torch.equal(draw_folds(strata, 5, generator()), draw_folds(strata, 5, generator()))
    assert not torch.equal(draw_folds(strata, 5, generator()), draw_folds(strata, 5, generator(1)))
