"""GroupDRO: the weights of the groups follow their losses, so that the worst one counts most."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod
from prusc.models.calls import call_model


@dataclass(frozen=True)
class GroupDROSettings:
    """How GroupDRO trains.

    Attributes:
        step_size: Of the exponentiated gradient on the weights of the groups (eta_q).
        weight_decay: Of the network; the paper's point is that it has to be strong. That of ERM if ``None``.
        share: Length of training as a share of ERM's: the paper's other means against memorising small groups.
    """

    step_size: float = 0.01
    weight_decay: float | None = None
    share: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "step_size", "share")
        require_not_negative(self, "weight_decay")


def update_group_weights(
    group_weights: Float[Tensor, " groups"],
    losses: Float[Tensor, " batch"],
    groups: Int[Tensor, " batch"],
    *,
    step_size: float,
) -> tuple[Float[Tensor, " groups"], Float[Tensor, ""]]:
    """Shift weight to the groups of high loss, and return the weighted loss.

    Args:
        group_weights: At least 0, sum 1.
        losses: Of each sample, in nats.
        groups: Of each sample.
        step_size: Of the exponentiated gradient.

    Returns:
        The new weights, sum 1, without gradients, and the sum over the groups of weight times mean loss; groups that
        are not in the batch count as without loss.

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
    weight_decay: float | None,
    share: float = 1.0,
) -> tuple[nn.Module, Float[Tensor, " groups"]]:
    """Train anew on batches in which every group is as frequent, as the paper's code does.

    Args:
        inputs: Data and means to train.
        groups: Of each training sample, known or inferred.
        num_groups: Number of groups, the empty ones counted.
        name: Names the training in progress and errors.
        step_size: Of the exponentiated gradient.
        weight_decay: Of the network; that of ERM if ``None``.
        share: Length of training as a share of ERM's.

    Returns:
        The network, and the last weights of the groups.
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
    return inputs.fit(inputs.new_network(), batches, name, loss=loss, weight_decay=weight_decay), weights


def _train(inputs: MethodInputs, settings: GroupDROSettings) -> Trained:
    assert inputs.train_groups is not None, "declared"
    network, weights = fit_group_dro(
        inputs,
        inputs.train_groups,
        inputs.num_groups,
        "GroupDRO",
        step_size=settings.step_size,
        weight_decay=settings.weight_decay,
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
        GroupDROSettings(share=0.2, weight_decay=1.0),
        GroupDROSettings(step_size=0.1, share=0.2),
    ),
    starts_from_erm=False,
)
