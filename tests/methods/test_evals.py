import pytest
import torch
from torch.nn import functional as F

from prusc.errors import ConfigError
from prusc.methods.eiil import infer_environments
from prusc.methods.evals import EVALS, EVaLSSettings, choose_by_loss
from prusc.stages.heads import fit_head
from tests.methods.inputs import make_inputs
from tests.networks import generator
from tests.reference import methods as reference


@pytest.mark.parametrize("share", [0.01, 0.2, 0.5])
@pytest.mark.parametrize("seed", range(3))
def test_the_choice_equals_its_slow_twin(seed: int, share: float) -> None:
    source = generator(seed)
    losses = torch.rand(40, generator=source)
    labels = torch.tensor([0] * 20 + [2] * 13 + [3] * 7)[torch.randperm(40, generator=source)]
    found = choose_by_loss(losses, labels, share=share)
    assert len(found.unique()) == len(found)
    assert set(found.tolist()) == reference.chosen_by_loss(losses.tolist(), labels.tolist(), share)


def test_a_class_with_a_single_sample_gives_it_once() -> None:
    assert choose_by_loss(torch.rand(4), torch.tensor([0, 1, 1, 1]), share=0.5).tolist()[0] == 0
    assert len(choose_by_loss(torch.rand(4), torch.tensor([0, 1, 1, 1]), share=0.5)) == 3


def test_the_head_is_fitted_to_these_and_scored_by_the_environments_of_eiil() -> None:
    inputs = make_inputs("evals")
    trained = EVALS.train(inputs, EVaLSSettings(share=0.2, l2=0.5))
    seen = inputs.represent(inputs.trained, inputs.val)
    used = choose_by_loss(F.cross_entropy(seen.logits, seen.labels, reduction="none"), seen.labels, share=0.2)
    assert len(used) == 3 * 8
    head = fit_head(seen.values[used], seen.labels[used], num_classes=3, l2=0.5)
    torch.testing.assert_close(trained.network.head.weight.detach(), head.weight)
    assert trained.val_logits is not None
    right = (trained.val_logits.argmax(dim=1) == seen.labels).tolist()
    groups = list(zip(seen.labels.tolist(), infer_environments(seen.logits, seen.labels).tolist(), strict=True))
    accuracies = [
        sum(r for r, own in zip(right, groups, strict=True) if own == group) / groups.count(group)
        for group in set(groups)
    ]
    assert trained.own_score == pytest.approx(min(accuracies))


@pytest.mark.parametrize("share", [0.0, 0.6])
def test_a_share_out_of_range_is_refused(share: float) -> None:
    with pytest.raises(ConfigError, match=r"share must be in \(0, 0\.5\], found"):
        EVaLSSettings(share=share)
