"""JTT: train twice, the second time with more of what the first network got wrong."""

from dataclasses import dataclass

import torch

from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class JTTSettings:
    """How JTT trains.

    Attributes:
        identification_epochs: Epochs of the network whose mistakes are repeated; the paper tunes it most.
        upweight: How often each mistake is shown for once that another sample is.
        share: Length of the second training as a share of ERM's: the paper stops early, by validation groups.
        weight_decay: Of both networks.
    """

    identification_epochs: int = 1
    upweight: int = 50
    share: float = 1.0
    weight_decay: float = 0.1

    def __post_init__(self) -> None:
        require_positive(self, "identification_epochs", "upweight", "share")
        require_not_negative(self, "weight_decay")


def _train(inputs: MethodInputs, settings: JTTSettings) -> Trained:
    """Find the mistakes of a network that was trained for a short time, then train anew on the repeated ones.

    The defaults are the paper's for CelebA. Its code repeats mistakes within an epoch; here they are drawn as often.
    """
    first = inputs.early_view("JTT", settings.identification_epochs, weight_decay=settings.weight_decay)
    wrong = first.predictions != inputs.train.labels
    weights = torch.where(wrong, float(settings.upweight), 1.0)
    # The longer epoch of the repeated samples is no reason to train longer than the others: steps are counted.
    batches = inputs.draws("batches", inputs.num_steps(settings.share), weights)
    network = inputs.fit(inputs.new_network(), batches, "JTT", weight_decay=settings.weight_decay)
    return Trained(network, facts={"num_mistakes": int(wrong.sum())})


JTT = TrainedMethod(
    name="jtt",
    title="JTT",
    paper="Liu et al. 2021, arXiv:2107.09044",
    group_labels="none",
    train=_train,
    settings=(
        JTTSettings(),
        JTTSettings(upweight=20, share=0.2),
        JTTSettings(share=0.2),
        JTTSettings(upweight=20, share=0.2, weight_decay=1.0),
    ),
    starts_from_erm=False,
)
