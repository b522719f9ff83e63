"""Which judge decides, on a network that reads its predictions off the image."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
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
from prusc.stages.selection.choice import Choice, choose_networks, choose_setting, order_judges
from prusc.stages.selection.judges import CellJudge, ClassJudge, Judge, UntrainedCellJudge
from tests.networks import feed_of
from tests.stages.selection.candidates import judge_by, predicting

CONFIG = RunConfig(controls=False)


def make_judges(labels: Tensor, cluster_ids: Tensor, kind: type[Judge] = CellJudge) -> tuple[Judge, Judge]:
    """The cells and the classes."""
    cells = Cells(labels, cluster_ids)
    return judge_by(kind, cells), judge_by(ClassJudge, cells)


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


def choose_between(labels: Tensor, cluster_ids: Tensor, before: Tensor, after: Tensor) -> Choice:
    """Choose between two networks with these predictions."""
    channels = torch.stack([before, after, torch.zeros_like(before)], dim=1)
    dense = make_candidate("dense", before, kind="as-is")
    masked = make_candidate("mask", after, channel=1)
    return choose_networks(make_context(labels, channels), make_judges(labels, cluster_ids), [dense], [masked])


def test_cells_decide_where_they_find_something_better() -> None:
    labels = torch.arange(200) % 2
    cluster_ids = torch.where(torch.arange(200) < 40, 1 - labels, labels)
    choice = choose_between(labels, cluster_ids, before=cluster_ids, after=labels)
    assert (choice.judged_by, choice.verdict) == ("cells", "improved")
    assert choice.candidates["subnetwork"].name == "mask"
    assert torch.equal(choice.predictions["subnetwork"]["test"], labels)
    assert choice.scores["mask"].score > choice.scores["dense"].score


def test_classes_are_asked_where_the_cells_find_nothing_better() -> None:
    # Twelve hard samples of class 0 lie among class 1: their cell falls, while class 1 gains 40 samples of 100.
    labels = torch.tensor([0] * 120 + [1] * 100)
    cluster_ids = torch.tensor([0] * 108 + [1] * 112)
    before = torch.tensor([0] * 120 + [1] * 50 + [0] * 50)
    after = torch.tensor([0] * 108 + [1] * 12 + [1] * 90 + [0] * 10)
    choice = choose_between(labels, cluster_ids, before, after)
    assert (choice.judged_by, choice.verdict) == ("classes", "improved")
    assert choice.candidates["subnetwork"].name == "mask"
    assert choice.scores["mask"].score == pytest.approx((0.9 + 0.9) / 2)


def test_the_classes_judge_first_where_a_new_head_serves_them_better() -> None:
    labels = torch.arange(200) % 2
    cluster_ids = torch.where(torch.arange(200) < 40, 1 - labels, labels)
    judges = make_judges(labels, cluster_ids)

    def first_of(judges: Sequence[Judge], after: Tensor, kind: str = "head") -> str:
        dense = [make_candidate("dense", before, kind="as-is"), make_candidate("dense/after", after, kind=kind)]
        ordered = order_judges(judges, dense)
        assert len(ordered) == 2
        return ordered[0].kind

    # The ERM network takes 50 of class 1 for class 0; the head mends that, or does not.
    before = torch.where(torch.arange(200) < 100, 0, labels)
    assert first_of(judges, labels) == "classes"
    assert first_of(judges, before) == "cells"
    # Clusters of a network that had yet to learn the classes judge first in any case.
    assert first_of(make_judges(labels, cluster_ids, UntrainedCellJudge), labels) == "cells"
    # What serves them better must be a head: trained weights follow the shortcut too.
    assert first_of(judges, labels, kind="weights") == "cells"


@pytest.mark.parametrize(("kind", "chosen"), [(CellJudge, "mask"), (UntrainedCellJudge, "dense/head")])
def test_who_goes_first_among_equals_depends_on_the_clusters(kind: type[Judge], chosen: str) -> None:
    labels = torch.arange(200) % 2
    cluster_ids = torch.where(torch.arange(200) < 40, 1 - labels, labels)
    judge, _ = make_judges(labels, cluster_ids, kind)
    # One more image wrong is no difference, twenty are.
    nearly, hardly = (torch.where(torch.arange(200) < wrong, 1 - labels, labels) for wrong in (1, 20))
    tried = [make_candidate("dense/head", nearly), make_candidate("mask", nearly, channel=1)]
    assert judge.choose(tried).name == chosen
    for name, other in (("dense/head", "mask"), ("mask", "dense/head")):
        tried = [make_candidate(name, labels), make_candidate(other, hardly)]
        assert judge.choose(tried).name == name


def choose_by_classes(shares: dict[str, float]) -> Choice:
    """Choose by the classes among networks that are right for these shares of both classes of 500, the original first.

    At 0.9 the error of the mean over the classes is 0.0095.
    """
    labels = torch.arange(1000) % 2
    judges = make_judges(labels, labels)[1:]
    erm, *tried = (
        make_candidate(
            name,
            torch.where(torch.arange(1000) < round(1000 * share), labels, 1 - labels),
            kind="as-is" if name == "dense" else "head",
        )
        for name, share in shares.items()
    )
    dense = [candidate for candidate in tried if candidate.base_name == "dense"]
    masked = [candidate for candidate in tried if candidate.base_name != "dense"]
    context = make_context(labels, torch.zeros(1000, 3, dtype=torch.long))
    return choose_networks(context, judges, [erm, *dense], masked)


def test_the_classes_pass_over_the_original_beyond_one_error_of_the_best() -> None:
    for share, verdict in ((0.885, "improved"), (0.895, "no-shortcut")):
        choice = choose_by_classes({"dense": share, "mask": 0.9})
        assert (choice.judged_by, choice.verdict) == ("classes", verdict)
        assert choice.candidates["subnetwork"].name == ("mask" if verdict == "improved" else "dense")


def test_the_classes_choose_the_plainest_within_two_errors_of_the_best() -> None:
    shares = {"dense": 0.85, "dense/strong": 0.875, "dense/medium": 0.885, "dense/weak": 0.9}
    choice = choose_by_classes({**shares, "mask": 0.9})
    assert choice.candidates["subnetwork"].name == "dense/medium"
    # The plainest of equals is no improvement if it is below the original.
    choice = choose_by_classes({"dense": 0.888, "dense/strong": 0.886, "mask": 0.9})
    assert choice.verdict == "no-shortcut"


def test_the_original_stays_where_no_judge_finds_anything_better() -> None:
    labels = torch.arange(200) % 2
    cluster_ids = torch.where(torch.arange(200) < 40, 1 - labels, labels)
    choice = choose_between(labels, cluster_ids, before=cluster_ids, after=torch.zeros_like(labels))
    assert (choice.judged_by, choice.verdict) == ("cells", "shortcut-only")
    assert choice.candidates["subnetwork"].name == "dense"
    assert torch.equal(choice.predictions["subnetwork"]["test"], cluster_ids)


def test_the_plainest_base_is_chosen_before_what_is_made_of_it() -> None:
    labels = torch.arange(2000) % 2
    _, classes = make_judges(labels, labels)

    def right_for(share: float) -> Tensor:
        # Both classes have the same share, so the error of the mean over the classes is about 0.0065.
        return torch.where(torch.arange(2000) < round(2000 * share), labels, 1 - labels)

    shares = {"dense": 0.8, "dense/strong": 0.898, "dense/weak": 0.902, "mask/head": 0.908}
    candidates = [make_candidate(name, right_for(share)) for name, share in shares.items()]
    # The strong head is more than an error below the masked network, but not below the best one of its own base.
    assert classes.choose(candidates).name == "dense/strong"
    # A masked network that is clearly better is chosen.
    candidates.append(make_candidate("mask/better", right_for(0.95)))
    assert classes.choose(candidates).name == "mask/better"


def test_the_cells_take_a_mask_where_it_is_as_good_as_the_whole_network() -> None:
    labels = torch.arange(2000) % 2
    cluster_ids = torch.where(torch.arange(2000) < 200, 1 - labels, labels)
    judge, _ = make_judges(labels, cluster_ids)

    def right_for(share: float) -> Tensor:
        # The two small cells have 100 samples each; their score has an error of about 0.04.
        return torch.where(torch.arange(2000) < round(200 * (1 - share)), 1 - labels, labels)

    shares = {"dense": 0.1, "dense/head": 0.8, "mask/head": 0.7, "mask/better": 0.75, "mask/worse": 0.5}
    candidates = {name: make_candidate(name, right_for(share)) for name, share in shares.items()}
    assert judge.choose(list(candidates.values())).name == "mask/better"
    # More than two errors below it is not as good.
    del candidates["mask/head"], candidates["mask/better"]
    assert judge.choose(list(candidates.values())).name == "dense/head"


def test_a_mask_that_is_no_better_than_the_original_leaves_the_head() -> None:
    labels = torch.arange(400) % 2
    cluster_ids = torch.where(torch.arange(400) < 40, 1 - labels, labels)
    position = torch.arange(400)
    # Of the 40 samples that conflict the original has 20 right, the head 30 and the mask 26; of the others the mask
    # alone has some wrong, two of five: its lowest score is within the tolerance, its mean over the cells lower.
    before = torch.where((position < 20) | (position >= 40), labels, 1 - labels)
    head = torch.where((position < 30) | (position >= 40), labels, 1 - labels)
    mask = torch.where((position < 26) | (position >= 176), labels, 1 - labels)
    channels = torch.stack([before, head, mask], dim=1)
    judges = make_judges(labels, cluster_ids)
    dense = [make_candidate("dense", before, kind="as-is"), make_candidate("dense/head", head, channel=1)]
    masked = [make_candidate("mask", mask, channel=2)]
    assert judges[0].choose([dense[1], *masked]).name == "mask"
    choice = choose_networks(make_context(labels, channels), judges, dense, masked)
    assert (choice.judged_by, choice.verdict) == ("cells", "improved")
    assert choice.candidates["subnetwork"].name == "dense/head"


@pytest.mark.parametrize(("share", "kind"), [(0.2, "classes"), (0.8, "cells")])
def test_cells_choose_only_what_is_better_for_them(share: float, kind: str) -> None:
    # Two clusters of each class; in one of them samples of the other class, which the network takes for its own.
    labels = torch.arange(2).repeat_interleave(500)
    clusters = torch.cat([torch.arange(500) % 2, 2 + torch.arange(500) % 2])
    conflicting = torch.arange(1000) % 500 < 50
    clusters[conflicting] = 2 - 2 * labels[conflicting]
    before = clusters // 2
    # It serves all of those, and of the others some: its worst cell is better than the network's in any case.
    spared = torch.arange(1000) % 10 < 10 * share
    after = torch.where(conflicting | spared, labels, 1 - labels)
    tried = [predicting(before, "first"), predicting(after, "second")]
    judge, chosen = choose_setting(make_judges(labels, clusters), tried[0], tried)
    assert judge.kind == kind
    assert chosen is tried[kind == "cells"]


def test_within_a_budget_only_masks_are_tried_and_the_best_is_handed_back() -> None:
    labels = torch.arange(200) % 2
    cluster_ids = torch.where(torch.arange(200) < 40, 1 - labels, labels)
    wrong = 1 - labels
    mostly = torch.where(torch.arange(200) % 3 == 0, wrong, labels)
    channels = torch.stack([labels, wrong, mostly], dim=1)
    budget = replace(CONFIG, masks=replace(CONFIG.masks, budget_flops=0.5))
    context = replace(make_context(labels, channels), config=budget)
    dense = [make_candidate("dense", labels, kind="as-is"), make_candidate("dense/head", labels)]
    masked = [make_candidate("mask@1", wrong, channel=1), make_candidate("mask@2", mostly, channel=2)]
    judges = make_judges(labels, cluster_ids)
    choice = choose_networks(context, judges, dense, masked)
    # The original is right everywhere, so nothing within the budget is better.
    assert choice.verdict == "within-budget"
    assert choice.candidates["subnetwork"].name == "mask@2"
    assert choice.candidates["erm"].name == "dense"
    assert torch.equal(choice.predictions["subnetwork"]["test"], mostly)
    assert choose_networks(make_context(labels, channels), judges, dense, masked).candidates["subnetwork"] is dense[0]
    # And where something is, the verdict is as without a budget.
    better = choose_networks(
        context,
        judges,
        [make_candidate("dense", cluster_ids, kind="as-is")],
        [make_candidate("mask@1", labels, channel=0)],
    )
    assert better.verdict == "improved"
