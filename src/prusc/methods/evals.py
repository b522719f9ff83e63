"""EVaLS: refit the head on the held-out samples of each class with the highest and with the lowest losses."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from prusc.config.checks import require
from prusc.methods.eiil import infer_environments
from prusc.methods.held_out import Predict, cross_fit
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_positive
from prusc.methods.trained import Trained, TrainedMethod, worst_accuracy_over
from prusc.stages.heads import Head, fit_head


@dataclass(frozen=True)
class EVaLSSettings:
    """Settings of EVaLS.

    Attributes:
        share: k as a share of the samples of the smallest class, in (0, 0.5].
        l2: Strength of the regularisation of the head; see `prusc.stages.heads.fit_head`.
    """

    share: float = 0.1
    l2: float = 1.0

    def __post_init__(self) -> None:
        require(0 < self.share <= 0.5, "share", self.share, "in (0, 0.5]")
        require_positive(self, "l2")


def choose_by_loss(
    losses: Float[Tensor, " samples"], labels: Int[Tensor, " samples"], *, share: float
) -> Int[Tensor, " chosen"]:
    """Choose the k samples of each class with the highest losses and the k with the lowest.

    Args:
        losses: Loss of each held-out sample.
        labels: Class of each sample.
        share: k as a share of the samples of the smallest class that has samples; k is at least 1.

    Returns:
        Indices of the chosen samples; all samples of a class with fewer than 2 k.
    """
    classes, sizes = labels.unique(return_counts=True)
    k = max(1, round(share * int(sizes.min())))
    chosen = []
    for label in classes:
        inside = (labels == label).nonzero()[:, 0]
        order = inside[losses[inside].argsort(stable=True)]
        chosen.append(torch.cat([order[:k], order[max(k, len(order) - k) :]]))
    return torch.cat(chosen)


def _train(inputs: MethodInputs, settings: EVaLSSettings) -> Trained:
    """Refit the head of the ERM network on validation samples that are chosen by their loss.

    The paper chooses among settings by the worst accuracy over class x environment of EIIL. That accuracy, of
    cross-fitted predictions, is this method's own score, which stands beside the choice of the common judges. The
    paper's penalty is l1; here it is l2, as for the other heads.
    """
    seen = inputs.once("representations", lambda: inputs.represent(inputs.trained, inputs.val))
    losses = F.cross_entropy(seen.logits, seen.labels, reduction="none")

    def fit(chosen: Tensor) -> Head:
        used = chosen[choose_by_loss(losses[chosen], seen.labels[chosen], share=settings.share)]
        return fit_head(seen.values[used], seen.labels[used], num_classes=inputs.num_classes, l2=settings.l2)

    def fit_fold(chosen: Tensor) -> Predict:
        head = fit(chosen)
        return lambda asked: head.logits(seen.values[asked])

    network = inputs.erm_network()
    fit(torch.arange(len(losses))).apply(network, inputs.head_name)
    val_logits = cross_fit(fit_fold, seen.labels, inputs.generator("folds"))
    environments = infer_environments(seen.logits, seen.labels)
    score = worst_accuracy_over(val_logits, seen.labels, 2 * seen.labels + environments)
    facts = {"smaller_environment": min(int(environments.sum()), int((~environments).sum()))}
    return Trained(network, facts=facts, val_logits=val_logits, own_score=score)


EVALS = TrainedMethod(
    name="evals",
    title="EVaLS",
    paper="EVaLS, environment-based validation and loss-based sampling",
    group_labels="none",
    train=_train,
    settings=(
        EVaLSSettings(),
        *(EVaLSSettings(l2=l2) for l2 in (0.1, 0.01, 1e-3)),
        *(EVaLSSettings(share=share, l2=l2) for share in (0.05, 0.2, 0.4) for l2 in (1.0, 0.1, 0.01, 1e-3)),
    ),
    starts_from_erm=True,
    trains_on_validation=True,
)
