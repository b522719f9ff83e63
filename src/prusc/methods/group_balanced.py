"""Group-balanced sampling: draw small groups more often, or leave samples of large groups out."""

from dataclasses import dataclass
from typing import Literal

import torch

from prusc.methods.budget import share_cost
from prusc.methods.dfr import balanced_subset
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class GroupBalancedSettings:
    """Settings of group-balanced sampling.

    Attributes:
        sampling: ``draw`` draws small groups more often (RWG); ``subsample`` leaves samples of large ones out (SUBG).
        share: Steps of training as a share of the steps of ERM.
        total_decay: Strength of the weight decay (see `MethodInputs.weight_decay`); that of ERM if ``None``.
    """

    sampling: Literal["draw", "subsample"] = "draw"
    share: float = 1.0
    total_decay: float | None = None

    def __post_init__(self) -> None:
        require_positive(self, "share")
        require_not_negative(self, "total_decay")


def _train(inputs: MethodInputs, settings: GroupBalancedSettings) -> Trained:
    """Train a new network; every group is equally likely in each draw.

    The paper tunes learning rate, weight decay and batch size, and stops early by the groups of validation. Here the
    number of steps and the weight decay are tuned.
    """
    groups = inputs.train_groups
    assert groups is not None, "declared"
    sizes = torch.bincount(groups, minlength=inputs.num_groups)
    weights = (1 / sizes.clamp(min=1))[groups]
    if settings.sampling == "subsample":
        kept = balanced_subset(groups, inputs.generator("subset"))
        weights = torch.zeros_like(weights).index_fill(0, kept, 1.0)
    batches = inputs.draws("batches", inputs.num_steps(settings.share), weights)
    network = inputs.fit(inputs.new_network(), batches, "group-balanced training", total_decay=settings.total_decay)
    return Trained(network, facts={"num_samples": int((weights > 0).sum())})


GROUP_BALANCED = TrainedMethod(
    name="group-balanced",
    title="Group-balanced sampling",
    paper="Idrissi et al. 2022, arXiv:2110.14503 (RWG, SUBG)",
    group_labels="training",
    train=_train,
    settings=(
        GroupBalancedSettings(),
        GroupBalancedSettings(share=0.2),
        GroupBalancedSettings(sampling="subsample", share=0.2),
        GroupBalancedSettings(share=0.2, total_decay=3.0),
        GroupBalancedSettings(share=0.5),
        GroupBalancedSettings(sampling="subsample", share=0.5),
        GroupBalancedSettings(sampling="subsample"),
        GroupBalancedSettings(total_decay=1.0),
    ),
    starts_from_erm=False,
    cost=share_cost,
)
