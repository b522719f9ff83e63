"""ERM, ERM of another length, and ERM on class-balanced batches."""

from dataclasses import dataclass

import torch

from prusc.methods.budget import Cost, training_cost
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_positive
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class ERMSettings:
    """ERM has no settings of its own; ``config.erm`` holds them."""


@dataclass(frozen=True)
class ERMLongerSettings:
    """Settings of ERM of another length.

    Attributes:
        share: Length of the training as a share of ERM's.
    """

    share: float = 3.0

    def __post_init__(self) -> None:
        require_positive(self, "share")


def _return_erm(inputs: MethodInputs, _settings: ERMSettings) -> Trained:
    return Trained(inputs.erm_network())


def _train_balanced(inputs: MethodInputs, _settings: ERMSettings) -> Trained:
    """Train a new network; every class is equally likely in each draw."""
    sizes = torch.bincount(inputs.train.labels, minlength=inputs.num_classes).double()
    batches = inputs.draws("batches", inputs.num_steps(1.0), (1 / sizes.clamp(min=1))[inputs.train.labels].float())
    return Trained(inputs.fit(inputs.new_network(), batches, "class-balanced ERM"))


def _train_longer(inputs: MethodInputs, settings: ERMLongerSettings) -> Trained:
    """Train a new network as ERM does, for another number of epochs."""
    schedule = inputs.epochs("batches", _longer_epochs(settings, inputs.config.erm.epochs))
    return Trained(inputs.fit(inputs.new_network(), schedule, "longer ERM"))


def _longer_epochs(settings: ERMLongerSettings, of_erm: int) -> int:
    return max(1, round(settings.share * of_erm))


ERM = TrainedMethod(
    name="erm",
    title="ERM",
    paper="Vapnik 1991",
    group_labels="none",
    train=_return_erm,
    settings=(ERMSettings(),),
    starts_from_erm=True,
)

ERM_LONGER = TrainedMethod(
    name="erm-longer",
    title="ERM, three times as long",
    paper="Vapnik 1991",
    group_labels="none",
    train=_train_longer,
    settings=(ERMLongerSettings(),),
    starts_from_erm=False,
    cost=lambda settings, erm: Cost(_longer_epochs(settings, erm.epochs) / erm.epochs),
)

CLASS_BALANCED = TrainedMethod(
    name="class-balanced",
    title="ERM, classes balanced",
    paper="Idrissi et al. 2022, arXiv:2110.14503 (RWY)",
    group_labels="none",
    train=_train_balanced,
    settings=(ERMSettings(),),
    starts_from_erm=False,
    cost=training_cost,
)
