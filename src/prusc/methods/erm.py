"""ERM, and ERM on class-balanced batches."""

from dataclasses import dataclass

import torch

from prusc.methods.inputs import MethodInputs
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class ERMSettings:
    """ERM has no settings of its own; ``config.erm`` holds them."""


def _return_erm(inputs: MethodInputs, _settings: ERMSettings) -> Trained:
    return Trained(inputs.erm_network())


def _train_balanced(inputs: MethodInputs, _settings: ERMSettings) -> Trained:
    """Train a new network; every class is equally likely in each draw."""
    sizes = torch.bincount(inputs.train.labels, minlength=inputs.num_classes).double()
    batches = inputs.draws("batches", inputs.num_steps(1.0), (1 / sizes.clamp(min=1))[inputs.train.labels].float())
    return Trained(inputs.fit(inputs.new_network(), batches, "class-balanced ERM"))


ERM = TrainedMethod(
    name="erm",
    title="ERM",
    paper="Vapnik 1991",
    group_labels="none",
    train=_return_erm,
    settings=(ERMSettings(),),
    starts_from_erm=True,
)

CLASS_BALANCED = TrainedMethod(
    name="class-balanced",
    title="ERM, classes balanced",
    paper="Idrissi et al. 2022, arXiv:2110.14503 (RWY)",
    group_labels="none",
    train=_train_balanced,
    settings=(ERMSettings(),),
    starts_from_erm=False,
)
