"""JTT: train twice; the second training draws the mistakes of the first network more often."""

from dataclasses import dataclass

import torch

from prusc.methods.budget import Cost, ERMLength, early_view_name
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class JTTSettings:
    """Settings of JTT.

    Attributes:
        identification_epochs: Epochs of the first network; the paper tunes them most.
        upweight: Sampling weight of each mistake; that of the other samples is 1.
        share: Steps of the second training as a share of the steps of ERM. The paper stops early, by the groups of
            validation.
        total_decay: Strength of the weight decay of both trainings (see `MethodInputs.weight_decay`). The paper's
            recipes have 0.6 (CelebA) to 2.3 (Waterbirds).
    """

    identification_epochs: int = 1
    upweight: int = 50
    share: float = 1.0
    total_decay: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "identification_epochs", "upweight", "share")
        require_not_negative(self, "total_decay")


def _train(inputs: MethodInputs, settings: JTTSettings) -> Trained:
    """Find the mistakes of an early network, then train a new one that draws them more often.

    The defaults are the paper's for CelebA. Its code repeats the mistakes within an epoch, which are drawn here.
    """
    first = inputs.early_view("JTT", settings.identification_epochs, total_decay=settings.total_decay)
    wrong = first.predictions != inputs.train.labels
    weights = torch.where(wrong, float(settings.upweight), 1.0)
    # Repeated samples would make an epoch longer; counted in steps, JTT trains as long as the other methods.
    batches = inputs.draws("batches", inputs.num_steps(settings.share), weights)
    network = inputs.fit(inputs.new_network(), batches, "JTT", total_decay=settings.total_decay)
    return Trained(network, facts={"num_mistakes": int(wrong.sum())})


def _cost(settings: JTTSettings, erm: ERMLength) -> Cost:
    first = early_view_name(settings.identification_epochs, settings.total_decay)
    return Cost(settings.share, {first: settings.identification_epochs / erm.epochs})


JTT = TrainedMethod(
    name="jtt",
    title="JTT",
    paper="Liu et al. 2021, arXiv:2107.09044",
    group_labels="none",
    train=_train,
    settings=(
        JTTSettings(),
        *(JTTSettings(upweight=upweight, share=0.2) for upweight in (50, 100, 20)),
        *(JTTSettings(upweight=upweight, share=0.5) for upweight in (50, 100, 20)),
        *(JTTSettings(upweight=upweight) for upweight in (100, 20)),
    ),
    starts_from_erm=False,
    cost=_cost,
)
