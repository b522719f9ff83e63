"""GroupDRO: minimise a weighted sum of group losses whose weights grow with these losses."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.methods.budget import share_cost
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod
from prusc.models.calls import call_model


@dataclass(frozen=True)
class GroupDROSettings:
    """Settings of GroupDRO.

    Attributes:
        step_size: Step size of the exponentiated gradient on the group weights (eta_q).
        total_decay: Strength of the weight decay (see `MethodInputs.weight_decay`); that of ERM if ``None``. The paper
            shows that it must be strong.
        share: Steps of training as a share of the steps of ERM. Few steps are the paper's other means against
            memorising small groups.
    """

    step_size: float = 0.01
    total_decay: float | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "step_size", "share")
        require_not_negative(self, "total_decay")


def update_group_weights(
    group_weights: Float[Tensor, " groups"],
    losses: Float[Tensor, " batch"],
    groups: Int[Tensor, " batch"],
    *,
    step_size: float,
) -> tuple[Float[Tensor, " groups"], Float[Tensor, ""]]:
    """Shift weight to the groups with high loss, and return the weighted loss.

    Args:
        group_weights: Weight of each group, at least 0; they sum to 1.
        losses: Loss of each sample in nats.
        groups: Group of each sample.
        step_size: Step size of the exponentiated gradient.

    Returns:
        The new weights, which sum to 1 and have no gradient, and the sum over the groups of weight times mean loss. A
        group without samples in the batch has loss 0.

    References:
        Sagawa et al. 2020, arXiv:1911.08731, algorithm 1.
    """
    num_groups = len(group_weights)
    counts = torch.bincount(groups, minlength=num_groups)
    means = losses.new_zeros(num_groups).index_add(0, groups, losses) / counts.clamp(min=1)
    weights = group_weights * torch.exp(step_size * means.detach())
    weights = weights / weights.sum()
    return weights, (weights * means).sum()


def fit_group_dro(
    inputs: MethodInputs,
    groups: Int[Tensor, " train"],
    num_groups: int,
    name: str,
    *,
    step_size: float,
    total_decay: float | None,
    share: float = 1.0,
) -> tuple[nn.Module, Float[Tensor, " groups"]]:
    """Train a new network by GroupDRO on group-balanced batches, as the paper's code does.

    Args:
        inputs: What the method is given.
        groups: Group of each training sample, known or inferred.
        num_groups: Number of groups, including empty ones.
        name: Name of the training in progress and errors.
        step_size: Step size of the exponentiated gradient.
        total_decay: Strength of the weight decay (see `MethodInputs.weight_decay`); that of ERM if ``None``.
        share: Steps of training as a share of the steps of ERM.

    Returns:
        The network and the final group weights.
    """
    sizes = torch.bincount(groups, minlength=num_groups).double()
    weights = torch.full((num_groups,), 1 / num_groups, device=inputs.feed.runtime.device)
    weights = torch.where(sizes.to(weights.device) > 0, weights, 0.0)
    labels = inputs.train.labels

    def loss(model: nn.Module, batch: Tensor, indices: Tensor) -> Tensor:
        nonlocal weights
        own = labels[indices].to(batch.device)
        losses = F.cross_entropy(call_model(model, batch).float(), own, reduction="none")
        weights, total = update_group_weights(weights, losses, groups[indices].to(batch.device), step_size=step_size)
        return total

    batches = inputs.draws("batches", inputs.num_steps(share), (1 / sizes.clamp(min=1))[groups].float())
    return inputs.fit(inputs.new_network(), batches, name, loss=loss, total_decay=total_decay), weights


def _train(inputs: MethodInputs, settings: GroupDROSettings) -> Trained:
    assert inputs.train_groups is not None, "declared"
    network, weights = fit_group_dro(
        inputs,
        inputs.train_groups,
        inputs.num_groups,
        "GroupDRO",
        step_size=settings.step_size,
        total_decay=settings.total_decay,
        share=settings.share,
    )
    return Trained(network, facts={"largest_group_weight": weights.max().item()})


GROUP_DRO = TrainedMethod(
    name="group-dro",
    title="GroupDRO",
    paper="Sagawa et al. 2020, arXiv:1911.08731",
    group_labels="training",
    train=_train,
    settings=(
        GroupDROSettings(),
        GroupDROSettings(share=0.2),
        GroupDROSettings(share=0.2, total_decay=3.0),
        GroupDROSettings(step_size=0.1, share=0.2),
        GroupDROSettings(share=0.5),
        GroupDROSettings(share=0.5, total_decay=3.0),
        GroupDROSettings(total_decay=1.0),
    ),
    starts_from_erm=False,
    cost=share_cost,
)
