"""FG-CCDB: draw samples by class and by the class that a biased network predicts, so that the two are independent."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prusc.methods.biased_network import biased_epochs, biased_network_cost, view_of_biased_network
from prusc.methods.budget import Cost, ERMLength
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive, require_share
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class FGCCDBSettings:
    """Settings of FG-CCDB.

    Attributes:
        biased_share: Length of the training of the biased network, as a share of ERM's.
        q: Exponent of that network's generalised cross-entropy.
        share: Steps of the debiased training as a share of the steps of ERM.
        total_decay: Strength of its weight decay (see `MethodInputs.weight_decay`); that of ERM if ``None``.
    """

    biased_share: float = 0.2
    q: float = 0.7
    share: float = 1.0
    total_decay: float | None = None

    def __post_init__(self) -> None:
        require_positive(self, "biased_share", "q", "share")
        require_share(self, "q")
        require_not_negative(self, "total_decay")


def confusion_weights(
    predictions: Int[Tensor, " samples"], labels: Int[Tensor, " samples"], *, num_classes: int
) -> Float[Tensor, " samples"]:
    """Weight each sample by its cell of the biased network's confusion matrix.

    With ``M_ij`` samples that are predicted as i and belong to class j, ``J = M / N``, ``P_ij = J_ij / sum_i J_ij`` and
    ``q_i = sum_j J_ij``, a sample of the cell has the weight ``(q_i / P_ij) / M_ij``.

    Args:
        predictions: Class that the biased network predicts for each sample.
        labels: Class of each sample.
        num_classes: Number of classes.

    Returns:
        Sampling weights that sum to 1.

    References:
        FG-CCDB, ICLR 2026.
    """
    counts = torch.bincount(predictions * num_classes + labels, minlength=num_classes**2).double()
    counts = counts.view(num_classes, num_classes)
    joint = counts / len(labels)
    of_class = joint / joint.sum(dim=0, keepdim=True).clamp(min=1e-300)
    weights = joint.sum(dim=1, keepdim=True) / (of_class * counts).clamp(min=1e-300)
    own = weights[predictions, labels]
    return (own / own.sum()).float()


def _train(inputs: MethodInputs, settings: FGCCDBSettings) -> Trained:
    """Train a biased network, then a new one on draws by the biased network's confusion matrix."""
    num_epochs, labels = biased_epochs(settings.biased_share, inputs.config.erm.epochs), inputs.train.labels
    predictions = view_of_biased_network(inputs, num_epochs=num_epochs, q=settings.q).predictions
    weights = confusion_weights(predictions, labels, num_classes=inputs.num_classes)
    batches = inputs.draws("batches", inputs.num_steps(settings.share), weights)
    network = inputs.fit(inputs.new_network(), batches, "FG-CCDB", total_decay=settings.total_decay)
    return Trained(network, facts={"num_conflicting": int((predictions != labels).sum())})


def _cost(settings: FGCCDBSettings, erm: ERMLength) -> Cost:
    return Cost(settings.share, biased_network_cost(settings.biased_share, settings.q, erm))


FG_CCDB = TrainedMethod(
    name="fg-ccdb",
    title="FG-CCDB",
    paper="FG-CCDB, ICLR 2026",
    group_labels="none",
    train=_train,
    settings=(
        FGCCDBSettings(),
        FGCCDBSettings(share=0.2),
        FGCCDBSettings(share=0.2, total_decay=1.0),
        FGCCDBSettings(share=0.5),
        FGCCDBSettings(share=0.2, biased_share=0.05),
        FGCCDBSettings(share=0.5, biased_share=0.05),
        FGCCDBSettings(biased_share=0.05),
    ),
    starts_from_erm=False,
    cost=_cost,
)
