"""Which judge decides, on a network that reads its predictions off the image."""

import pytest
import torch
from torch import Tensor, nn

from prusc import RunConfig
from prusc.candidates import Candidate, Setting
from prusc.choice import Choice, choose_networks
from prusc.data import Data, InputTransform, Split
from prusc.debiasing_set import build_debiasing_set
from prusc.masks import BinaryMask
from prusc.progress import SilentProgress
from prusc.runtime import Runtime
from prusc.selection import make_pseudo_groups

CONFIG = RunConfig(controls=False)


def choose_between(labels: Tensor, cluster_ids: Tensor, before: Tensor, after: Tensor) -> Choice:
    """Choose between two networks with these predictions; cells judge first, then classes."""
    channels = torch.stack([before, after, torch.zeros_like(before)], dim=1)
    split = Split((255 * channels)[:, :, None, None].to(torch.uint8), labels, None, tuple(map(str, range(len(labels)))))
    data = Data("test", ("a", "b"), split, split, split, (), (), (0.5,) * 3, (0.5,) * 3, {"name": "test"})
    num_clusters = int(cluster_ids.max()) + 1
    arguments = {"num_clusters": num_clusters, "config": CONFIG.selection}
    transform = InputTransform(data.mean, data.std)
    setting = Setting(
        data=data,
        head_name="1",
        source=split,
        debiasing_set=build_debiasing_set(
            labels, cluster_ids, num_classes=2, num_clusters=num_clusters, config=CONFIG.debiasing_set
        ),
        judges=(
            make_pseudo_groups(labels, cluster_ids, **arguments),  # type: ignore[arg-type]
            make_pseudo_groups(labels, None, **arguments),  # type: ignore[arg-type]
        ),
        judged=torch.arange(len(labels)),
        judged_cluster_ids=cluster_ids,
        transform=transform,
        train_transform=transform,
        config=CONFIG,
        runtime=Runtime(CONFIG.runtime),
        progress=SilentProgress(),
    )
    model = nn.Sequential(nn.Flatten(), nn.Linear(3, 2))

    def candidate(name: str, kind: str, channel: int, predictions: Tensor) -> Candidate:
        weight = torch.zeros(2, 3)
        weight[1, channel] = 1.0
        state = {"1.weight": weight, "1.bias": torch.zeros(2)}
        mask = BinaryMask({"1.weight": torch.ones(2, 3, dtype=torch.bool)})
        return Candidate(name, kind, mask, 0.0, predictions, 0.0, None, state)

    return choose_networks(
        model, setting, [candidate("dense", "as-is", 0, before)], [candidate("mask", "head", 1, after)]
    )


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


def test_the_original_stays_where_no_judge_finds_anything_better() -> None:
    labels = torch.arange(200) % 2
    cluster_ids = torch.where(torch.arange(200) < 40, 1 - labels, labels)
    choice = choose_between(labels, cluster_ids, before=cluster_ids, after=torch.zeros_like(labels))
    assert (choice.judged_by, choice.verdict) == ("cells", "shortcut-only")
    assert choice.candidates["subnetwork"].name == "dense"
    assert torch.equal(choice.predictions["subnetwork"]["test"], cluster_ids)
