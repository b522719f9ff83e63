"""XRM: twins that learn each other's mistakes find environments; GroupDRO then trains on class x environment."""

from dataclasses import dataclass

from prusc.config import TwinsConfig
from prusc.methods.budget import share_cost
from prusc.methods.group_dro import fit_group_dro
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod, worst_accuracy_over
from prusc.stages.pseudo_attributes.twins import TwinIds, infer_by_twins
from prusc.stages.representations import predict


@dataclass(frozen=True)
class XRMSettings:
    """Settings of XRM; those of the twins are published, and drawn.

    Attributes:
        twin_steps: Steps of the twins.
        step_size: Step size of GroupDRO.
        share: Steps of GroupDRO as a share of the steps of ERM.
        total_decay: Strength of the weight decay of GroupDRO (see `MethodInputs.weight_decay`); that of ERM if
            ``None``.
    """

    twin_steps: int = 5000
    step_size: float = 0.01
    share: float = 1.0
    total_decay: float | None = None

    def __post_init__(self) -> None:
        require_positive(self, "twin_steps", "step_size", "share")
        require_not_negative(self, "total_decay")


def _find_environments(inputs: MethodInputs, settings: XRMSettings) -> TwinIds:
    """Infer by twin heads on frozen features of the network whose clusters count: an early or an untrained one."""

    def make() -> TwinIds:
        train, val = (inputs.represent(inputs.clustered, split) for split in (inputs.train, inputs.val))
        config = TwinsConfig(steps=settings.twin_steps)
        return infer_by_twins(train.values, train.labels, val.values, val.labels, config, inputs.generator("twins"))

    return inputs.once(f"environments after {settings.twin_steps} steps", make)


def _train(inputs: MethodInputs, settings: XRMSettings) -> Trained:
    """Infer environments, and train by GroupDRO on class x environment.

    In the paper the twins of small networks are whole networks. Here they are linear heads on frozen features for every
    network. The paper chooses among settings and steps by the worst inferred group of validation. The accuracy of that
    group is this method's own score, which stands beside the choice of the common judges.
    """
    found, labels = _find_environments(inputs, settings), inputs.train.labels
    groups = 2 * labels + (found.train != labels)
    network, weights = fit_group_dro(
        inputs,
        groups,
        2 * inputs.num_classes,
        "XRM",
        step_size=settings.step_size,
        total_decay=settings.total_decay,
        share=settings.share,
    )
    val = inputs.val.labels
    score = worst_accuracy_over(predict(network, inputs.feed.of(inputs.val)), val, 2 * val + (found.val != val))
    facts = {
        "flip_rate": found.flip_rate,
        "smaller_environment": int((found.train != labels).sum()),
        "largest_group_weight": weights.max().item(),
    }
    return Trained(network, facts=facts, own_score=score)


XRM = TrainedMethod(
    name="xrm",
    title="XRM and GroupDRO",
    paper="Pezeshki et al. 2023, arXiv:2309.16748",
    group_labels="none",
    train=_train,
    settings=(
        XRMSettings(),
        XRMSettings(share=0.2),
        XRMSettings(share=0.2, total_decay=3.0),
        XRMSettings(step_size=0.1, share=0.2),
        XRMSettings(share=0.5),
        XRMSettings(share=0.5, total_decay=3.0),
        XRMSettings(total_decay=1.0),
    ),
    starts_from_erm=False,
    cost=share_cost,
)
