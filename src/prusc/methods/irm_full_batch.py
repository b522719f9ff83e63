"""IRM as its public code trains it: on whole environments, with a large penalty, for 501 steps."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from prusc.engine.training import Schedule
from prusc.errors import ConfigError
from prusc.losses import full_batch_irm_loss
from prusc.methods.budget import Cost
from prusc.methods.inputs import MethodInputs
from prusc.methods.irm import environment_probabilities
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod
from prusc.models.calls import call_model
from prusc.stages.cells import Cells
from prusc.stages.pseudo_attributes.clustering import cluster_representations


@dataclass(frozen=True)
class FullBatchIRMSettings:
    """Settings of IRM on whole environments; the defaults are published.

    Attributes:
        penalty_weight: Weight of the IRMv1 penalty after annealing.
        num_steps: Number of steps.
        annealing_steps: Number of steps before the penalty has its weight; until then the weight is 1.
        learning_rate: Peak learning rate.
        l2: Weight of the sum of the squared weights in the loss.
        num_clusters: Number of clusters of the ERM network's representations, from which the environments come.
    """

    penalty_weight: float = 9100.0
    num_steps: int = 501
    annealing_steps: int = 190
    learning_rate: float = 5e-4
    l2: float = 1e-3
    num_clusters: int = 8

    def __post_init__(self) -> None:
        require_not_negative(self, "penalty_weight", "annealing_steps", "l2")
        require_positive(self, "num_steps", "learning_rate", "num_clusters")


def _train(inputs: MethodInputs, settings: FullBatchIRMSettings) -> Trained:
    """Train a new network on all samples at once, each with its probability in the two environments.

    The learning rate has a cycle here; the public code keeps it. Each step needs memory for all training samples.
    """
    if inputs.feed.runtime.num_processes > 1:
        # The penalty is the square of a mean over all samples, not a mean over the processes' parts.
        raise ConfigError(
            f"method irm-full-batch needs all samples in one process, found {inputs.feed.runtime.num_processes} "
            "processes; run it without torchrun, or choose the method irm"
        )
    labels, num_samples = inputs.train.labels, len(inputs.train)
    seen = inputs.represent(inputs.trained, inputs.train)
    config = replace(inputs.config.clustering, num_clusters=settings.num_clusters, candidates=(settings.num_clusters,))
    clusters = cluster_representations(seen, config, generator=inputs.generator("clusters")).cluster_ids
    cells = Cells(labels, clusters, num_classes=inputs.num_classes, num_values=settings.num_clusters)
    probabilities = environment_probabilities(cells, inputs.config.debiasing_set)
    done = 0

    def loss(model: nn.Module, batch: Tensor, indices: Tensor) -> Tensor:
        nonlocal done
        weight = settings.penalty_weight if done >= settings.annealing_steps else 1.0
        done += 1
        loss_of_batch = full_batch_irm_loss(
            call_model(model, batch).float(),
            labels[indices].to(batch.device),
            probabilities[indices].to(batch.device),
            penalty_weight=weight,
        )
        norm = torch.stack([p.float().square().sum() for p in model.parameters() if p.requires_grad]).sum()
        # The public code divides all of the loss by the weight.
        return loss_of_batch + settings.l2 / max(weight, 1.0) * norm

    batches = (torch.arange(num_samples) for _ in range(settings.num_steps))
    schedule = Schedule(batches, settings.num_steps, settings.learning_rate, 0.0)
    network = inputs.fit(
        inputs.new_network(), schedule, "IRM, full batch", loss=loss, learning_rate=settings.learning_rate
    )
    return Trained(network, facts={"num_minority": int((probabilities[:, 0] > 0).sum())})


IRM_FULL_BATCH = TrainedMethod(
    name="irm-full-batch",
    title="IRM, published recipe",
    paper="Arjovsky et al. 2019, arXiv:1907.02893, on the environments of Le et al. 2025, arXiv:2504.15686",
    group_labels="none",
    train=_train,
    settings=(FullBatchIRMSettings(),),
    starts_from_erm=True,
    cost=lambda settings, erm: Cost(erm.share_of(settings.num_steps, batch_size=erm.num_samples)),
)
