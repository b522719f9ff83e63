"""DFR's rival of one fit: an l2-regularised head on the validation split, with equal weights of the groups."""

from dataclasses import dataclass

import torch
from torch import Tensor

from prusc.methods.held_out import Predict, cross_fit
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_positive
from prusc.methods.trained import Trained, TrainedMethod
from prusc.stages.heads import Head, fit_head


@dataclass(frozen=True)
class GroupWeightedHeadSettings:
    """Settings of the group-weighted head.

    Attributes:
        l2: Strength of the regularisation of the head; see `prusc.stages.heads.fit_head`.
    """

    l2: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "l2")


def _train(inputs: MethodInputs, settings: GroupWeightedHeadSettings) -> Trained:
    """Refit the head of the ERM network on validation; each group has the same share of the loss.

    DFR draws group-balanced subsets, which leave most samples out where a group is small. Weights use every sample.
    """
    groups, num_classes = inputs.val_groups, inputs.num_classes
    assert groups is not None, "declared"
    seen = inputs.once("representations", lambda: inputs.represent(inputs.trained, inputs.val))

    def fit(chosen: Tensor) -> Head:
        own = groups[chosen]
        weights = 1 / torch.bincount(own)[own].double()
        return fit_head(seen.values[chosen], seen.labels[chosen], weights, num_classes=num_classes, l2=settings.l2)

    def fit_fold(chosen: Tensor) -> Predict:
        head = fit(chosen)
        return lambda asked: head.logits(seen.values[asked])

    network = inputs.erm_network()
    fit(torch.arange(len(groups))).apply(network, inputs.head_name)
    val_logits = cross_fit(fit_fold, groups, inputs.generator("folds"))
    smallest = int(torch.bincount(groups)[groups.unique()].min())
    return Trained(network, facts={"smallest_group": smallest}, val_logits=val_logits)


GROUP_WEIGHTED_HEAD = TrainedMethod(
    name="dfr-l2",
    title="DFR, weights and l2",
    paper="Kirichenko et al. 2023, arXiv:2204.02937, with weights in place of subsets and l2 in place of l1",
    group_labels="validation",
    train=_train,
    settings=(
        GroupWeightedHeadSettings(),
        *(GroupWeightedHeadSettings(l2=l2) for l2 in (0.1, 10.0, 0.01, 1e-3, 1e-4, 1e-5, 100.0)),
    ),
    starts_from_erm=True,
    trains_on_validation=True,
)
