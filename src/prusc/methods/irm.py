"""IRM on two inferred environments: the minority of each cluster, and a balanced draw through the clusters."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from prusc.config import DebiasingSetConfig
from prusc.errors import DataError
from prusc.losses import irm_loss
from prusc.methods.budget import training_cost
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_share
from prusc.methods.trained import Trained, TrainedMethod
from prusc.models.calls import call_model
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import build_debiasing_set


@dataclass(frozen=True)
class IRMSettings:
    """Settings of IRM.

    Attributes:
        penalty_weight: Weight of the IRMv1 penalty (lambda) after annealing. The papers' weights, up to 1e5, are for
            full batches of a small data set with two classes.
        annealing: Share of the steps during which the weight is 1. IRM's code has 190 of 501 steps.
    """

    penalty_weight: float = 100.0
    annealing: float = 0.38

    def __post_init__(self) -> None:
        require_not_negative(self, "penalty_weight")
        require_share(self, "annealing")


def environment_probabilities(cells: Cells, balanced: DebiasingSetConfig) -> Float[Tensor, "samples 2"]:
    """Return the probability of each sample in one draw of each environment.

    Args:
        cells: Class and cluster of each sample.
        balanced: How the second environment is drawn.

    Returns:
        Two columns that each sum to 1. The first is uniform over the samples outside the most frequent class of their
        cluster. The second is the class-balanced draw through the clusters. A sample may be in both.

    Raises:
        DataError: If no cluster has samples of two classes, so that there is no minority.

    References:
        Le et al. 2025, arXiv:2504.15686.
    """
    labels, cluster_ids = cells.labels, cells.attribute_ids
    counts = torch.zeros(cells.num_values, cells.num_classes).index_put_(
        (cluster_ids, labels), torch.ones(len(labels)), accumulate=True
    )
    minority = labels != counts.argmax(dim=1)[cluster_ids]
    if not bool(minority.any()):
        raise DataError(
            f"none of the {cells.num_values} clusters has samples of two classes, but the method irm needs a minority "
            "in some cluster; set clustering.num_clusters lower, or choose a method that needs no clusters"
        )
    draw = build_debiasing_set(cells, balanced)
    return torch.stack([minority / minority.sum(), draw.weights], dim=1).float()


def _train(inputs: MethodInputs, settings: IRMSettings) -> Trained:
    """Train a new network on batches that are half of each environment, with the clusters of PruSC."""
    labels = inputs.train.labels
    probabilities = environment_probabilities(inputs.cells, inputs.config.debiasing_set)
    mixture = probabilities.mean(dim=1)
    memberships = probabilities / probabilities.sum(dim=1, keepdim=True).clamp(min=1e-30)
    steps = inputs.num_steps(1.0)
    done = 0

    def loss(model: nn.Module, batch: Tensor, indices: Tensor) -> Tensor:
        nonlocal done
        done += 1
        return irm_loss(
            call_model(model, batch).float(),
            labels[indices].to(batch.device),
            memberships[indices].to(batch.device),
            penalty_weight=settings.penalty_weight if done > settings.annealing * steps else 1.0,
        )

    network = inputs.fit(inputs.new_network(), inputs.draws("batches", steps, mixture), "IRM", loss=loss)
    return Trained(network, facts={"num_minority": int((probabilities[:, 0] > 0).sum())})


IRM = TrainedMethod(
    name="irm",
    title="IRM, inferred environments",
    paper="Le et al. 2025, arXiv:2504.15686; Arjovsky et al. 2019, arXiv:1907.02893",
    group_labels="none",
    train=_train,
    settings=(
        IRMSettings(),
        IRMSettings(penalty_weight=10.0),
        IRMSettings(penalty_weight=1000.0),
        IRMSettings(penalty_weight=1.0),
    ),
    starts_from_erm=True,
    cost=training_cost,
)
