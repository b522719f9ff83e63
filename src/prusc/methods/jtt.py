"""JTT: train twice, the second time with more of what the first network got wrong."""

from dataclasses import dataclass

import torch

from prusc.methods.method import Method, MethodInputs, Trained


@dataclass(frozen=True)
class JTTSettings:
    """How JTT trains.

    Attributes:
        identification_epochs: Epochs of the network whose mistakes are repeated; as a share of ERM's it is what the
            paper tunes most.
        upweight: How often each mistake is shown for once that another sample is.
    """

    identification_epochs: int = 1
    upweight: int = 20


def _train(inputs: MethodInputs, settings: JTTSettings) -> Trained:
    """Find the mistakes of a network that was trained for a short time, then train anew on the repeated ones."""
    epochs = settings.identification_epochs
    first = inputs.fit(inputs.new_network(), inputs.epochs("identification", epochs), "JTT, identification")
    wrong = inputs.represent(first, inputs.train).predictions != inputs.train.labels
    # As many steps as ERM's: the longer epoch of the repeated samples is no reason to train longer than the others.
    steps = inputs.config.erm.epochs * inputs.steps_per_epoch
    weights = torch.where(wrong, float(settings.upweight), 1.0)
    network = inputs.fit(inputs.new_network(), inputs.draws("batches", steps, weights), "JTT")
    return Trained(network, facts={"num_mistakes": int(wrong.sum())})


JTT = Method(
    name="jtt",
    title="JTT",
    paper="Liu et al. 2021, arXiv:2107.09044",
    group_labels="none",
    train=_train,
    settings=(
        JTTSettings(),
        JTTSettings(upweight=50),
        JTTSettings(identification_epochs=2),
        JTTSettings(identification_epochs=2, upweight=50),
    ),
    starts_from_erm=False,
)
