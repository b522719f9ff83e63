"""Correct-n-Contrast: contrast samples of one class across the predictions of an early network."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from prusc.losses import cluster_contrastive_loss
from prusc.methods.budget import identification_cost
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_positive, require_share
from prusc.methods.trained import Trained, TrainedMethod
from prusc.models.calls import call_model
from prusc.models.head import RepresentationTap


@dataclass(frozen=True)
class CnCSettings:
    """Settings of CnC.

    Attributes:
        identification_epochs: Epochs of the network whose predictions are the pseudo-attribute. The paper uses strong
            weight decay or few epochs, so that this network memorises nothing; here the epochs are few.
        contrastive_weight: Weight of the contrastive loss (lambda), in [0, 1]; the cross-entropy has the rest.
        temperature: Divides the cosine similarities.
    """

    identification_epochs: int = 1
    contrastive_weight: float = 0.75
    temperature: float = 0.1

    def __post_init__(self) -> None:
        require_positive(self, "identification_epochs", "temperature")
        require_share(self, "contrastive_weight")


def contrast_weights(labels: Int[Tensor, " samples"], wrong: Bool[Tensor, " samples"]) -> Float[Tensor, " samples"]:
    """Weight samples so that each batch has anchors and positives of every class.

    Within a class, the samples that are predicted right and those that are predicted wrong have equal shares.

    Args:
        labels: Class of each sample.
        wrong: Whether each sample is predicted as another class.

    Returns:
        Weights that sum to 1, with equal shares of the classes. A class without mistakes has one part instead of two.
    """
    halves = labels * 2 + wrong
    sizes = torch.bincount(halves, minlength=2 * (int(labels.max()) + 1)).double()
    num_halves = (sizes.view(-1, 2) > 0).sum(dim=1)
    weights = 1 / sizes[halves] / num_halves[labels] / (num_halves > 0).sum()
    return weights.float()


def _train(inputs: MethodInputs, settings: CnCSettings) -> Trained:
    """Train a new network by cross-entropy and a contrastive loss.

    The loss is that of PruSC, with the predictions of an early network in place of clusters. Positives of an anchor
    share its class but not its prediction; negatives share its prediction but not its class. The paper draws a batch
    for each anchor. Here all pairs of one batch count, and every sample is an anchor once.
    """
    labels = inputs.train.labels
    predictions = inputs.early_view("CnC", settings.identification_epochs).predictions
    wrong = predictions != labels

    def loss(model: nn.Module, batch: Tensor, indices: Tensor) -> Tensor:
        own, predicted = labels[indices].to(batch.device), predictions[indices].to(batch.device)
        with RepresentationTap(model, inputs.head_name) as tap:
            logits = call_model(model, batch).float()
            representations = tap.take()
        contrast = cluster_contrastive_loss(representations, own, predicted, temperature=settings.temperature)
        share = settings.contrastive_weight
        return share * contrast + (1 - share) * F.cross_entropy(logits, own)

    batches = inputs.draws("batches", inputs.num_steps(1.0), contrast_weights(labels, wrong))
    network = inputs.fit(inputs.new_network(), batches, "CnC", loss=loss)
    return Trained(network, facts={"num_mistakes": int(wrong.sum())})


CNC = TrainedMethod(
    name="cnc",
    title="CnC",
    paper="Zhang et al. 2022, arXiv:2203.01517",
    group_labels="none",
    train=_train,
    settings=(
        CnCSettings(),
        CnCSettings(contrastive_weight=0.9, temperature=0.5),
        CnCSettings(identification_epochs=2),
        CnCSettings(temperature=0.05),
    ),
    starts_from_erm=False,
    cost=identification_cost,
)
