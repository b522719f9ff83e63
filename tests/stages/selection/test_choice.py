"""The choice, on a network that reads its predictions off the image."""

from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from prusc import RunConfig
from prusc.data import Data, Split
from prusc.engine.progress import SilentProgress
from prusc.masks import BinaryMask
from prusc.stages.candidates import Candidate, CandidateContext
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import build_debiasing_set
from prusc.stages.selection.choice import Choice, choose_networks
from tests.networks import feed_of
from tests.stages.selection.candidates import judge_of

CONFIG = RunConfig()
LABELS = torch.arange(200) % 2
CLUSTER_IDS = torch.where(torch.arange(200) < 40, 1 - LABELS, LABELS)


def make_context(labels: Tensor, channels: Tensor) -> CandidateContext:
    """Every split has these images of one pixel, channels [N, 3] of 0 and 1."""
    split = Split((255 * channels)[:, :, None, None].to(torch.uint8), labels, None, tuple(map(str, range(len(labels)))))
    data = Data("test", ("a", "b"), split, split, split, (), (), (0.5,) * 3, (0.5,) * 3, {"name": "test"})
    assert data.train.transform is not None
    feed = feed_of(data.train, data.train.transform)
    return CandidateContext(
        model=nn.Sequential(nn.Flatten(), nn.Linear(3, 2)),
        head_name="1",
        data=data,
        feed=feed,
        draws=feed,
        debiasing_set=build_debiasing_set(Cells(labels, labels)),
        folds=None,
        config=CONFIG,
        progress=SilentProgress(),
    )


def make_candidate(name: str, predictions: Tensor, *, kind: str = "head", channel: int = 0) -> Candidate:
    """A network that predicts what its channel says."""
    weight = torch.zeros(2, 3)
    weight[1, channel] = 1.0
    mask = BinaryMask({"1.weight": torch.ones(2, 3, dtype=torch.bool)})
    state = {"1.weight": weight, "1.bias": torch.zeros(2)}
    return Candidate(name, kind, mask, F.one_hot(predictions, 2).float(), state=state)


def choose(
    *after: tuple[str, str, Tensor],
    before: Tensor = CLUSTER_IDS,
    controls: bool = True,
    budget: float | None = None,
) -> Choice:
    """Choose among the ERM network, which predicts the clusters, and others: name, kind and predictions."""
    channels = torch.stack([before, *(own for _, _, own in after)], dim=1)
    channels = F.pad(channels, (0, 3 - channels.shape[1]))
    dense, masked = [make_candidate("dense", before, kind="as-is")], []
    for channel, (name, kind, predictions) in enumerate(after, start=1):
        made = make_candidate(name, predictions, kind=kind, channel=channel)
        (dense if made.base_name == "dense" else masked).append(made)
    context = make_context(LABELS, channels)
    masks = replace(CONFIG.masks, budget_flops=budget)
    context = replace(context, config=replace(CONFIG, controls=controls, masks=masks))
    return choose_networks(context, judge_of(Cells(LABELS, CLUSTER_IDS)), dense, masked)


def test_the_best_network_is_chosen_if_it_is_better() -> None:
    better = torch.where(torch.arange(200) < 20, 1 - LABELS, LABELS)
    choice = choose(("mask@3", "as-is", LABELS), ("dense/head", "head", better), controls=False)
    assert choice.is_better
    assert choice.p_value <= 0.05
    assert set(choice.candidates) == {"erm", "subnetwork"}
    assert choice.candidates["subnetwork"].name == choice.best.name == "mask@3"
    assert torch.equal(choice.predictions["subnetwork"]["test"], LABELS)
    assert torch.equal(choice.predictions["erm"]["test"], CLUSTER_IDS)
    assert choice.scores["mask@3"].score > choice.scores["dense/head"].score > choice.scores["dense"].score
    assert {cell.after for cell in choice.cells} == {1.0}


def test_a_new_head_or_trained_weights_of_the_whole_network_can_be_the_best() -> None:
    for name, kind, family in (
        ("dense/head(l2=1)", "head", "last_layer"),
        ("dense/weights(lr=1)", "weights", "finetune_all"),
    ):
        choice = choose((name, kind, LABELS), ("mask@3", "as-is", CLUSTER_IDS))
        assert choice.candidates["subnetwork"].name == choice.candidates[family].name == name


def test_of_equal_networks_the_whole_one_is_chosen() -> None:
    assert choose(("dense/head", "head", LABELS), ("mask@3", "as-is", LABELS)).best.name == "dense/head"


def test_the_erm_network_stays_if_nothing_is_better() -> None:
    # One sample of two hundred.
    before, hardly = (torch.where(torch.arange(200) < n, CLUSTER_IDS, LABELS) for n in (10, 9))
    choice = choose(("mask@3", "as-is", hardly), before=before)
    assert not choice.is_better
    assert choice.p_value > 0.05
    assert choice.best.name == "mask@3"
    assert choice.candidates["subnetwork"].name == "dense"
    assert torch.equal(choice.predictions["subnetwork"]["test"], before)
    assert all(cell.before == cell.after for cell in choice.cells)


def test_within_a_budget_only_masks_are_tried_and_the_best_is_handed_back() -> None:
    mostly = torch.where(torch.arange(200) % 3 == 0, 1 - LABELS, LABELS)
    tried = (("dense/head", "head", LABELS), ("mask@1", "as-is", 1 - LABELS), ("mask@2", "as-is", mostly))
    # The original is right everywhere, so nothing within the budget is better.
    within = choose(*tried[1:], before=LABELS, budget=0.5)
    assert not within.is_better
    assert within.candidates["subnetwork"].name == within.best.name == "mask@2"
    assert torch.equal(within.predictions["subnetwork"]["test"], mostly)
    assert choose(*tried[1:], before=LABELS).candidates["subnetwork"].name == "dense"
    # A new head of the whole network is the best, but it is not within the budget.
    assert choose(tried[0], ("mask@2", "as-is", mostly)).best.name == "dense/head"
    assert choose(tried[0], ("mask@2", "as-is", mostly), budget=0.5).best.name == "mask@2"
