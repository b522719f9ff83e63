"""EIIL: split the training data so that an early network is least invariant, then train by GroupDRO."""

from dataclasses import dataclass

from jaxtyping import Bool, Float, Int
from torch import Tensor

from prusc.losses import scale_gradients
from prusc.methods.budget import identification_cost
from prusc.methods.group_dro import fit_group_dro
from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_not_negative, require_positive
from prusc.methods.trained import Trained, TrainedMethod


@dataclass(frozen=True)
class EIILSettings:
    """Settings of EIIL.

    Attributes:
        identification_epochs: Epochs of the reference network.
        step_size: Step size of GroupDRO, which the paper uses where it aims at the worst group.
        total_decay: Strength of the weight decay (see `MethodInputs.weight_decay`); that of ERM if ``None``.
    """

    identification_epochs: int = 1
    step_size: float = 0.01
    total_decay: float | None = None

    def __post_init__(self) -> None:
        require_positive(self, "identification_epochs", "step_size")
        require_not_negative(self, "total_decay")


def infer_environments(
    logits: Float[Tensor, "samples classes"], labels: Int[Tensor, " samples"]
) -> Bool[Tensor, " samples"]:
    """Split samples into the two environments with the largest sum of IRMv1 penalties.

    With slopes g (see `scale_gradients`) and memberships q in [0, 1], EIIL maximises the mean of
    ``mean(q * g) ** 2`` and ``mean((1 - q) * g) ** 2``. Both depend on ``a = mean(q * g)`` alone. The objective,
    ``a ** 2 + (mean(g) - a) ** 2``, is convex in ``a``, so its maximum is at the largest or the smallest ``a``. Both
    are the split by the sign of g. The paper approaches this split by thousands of steps of Adam from a random start,
    which leave samples of small slope where they began.

    Args:
        logits: Logits of the reference network.
        labels: Class of each sample.

    Returns:
        Whether each sample has a positive slope. With two classes, these are the misclassified samples.

    References:
        Creager et al. 2021, arXiv:2010.07249, equation EI.
    """
    return scale_gradients(logits, labels) > 0


def _train(inputs: MethodInputs, settings: EIILSettings) -> Trained:
    """Infer environments from an early network, and train by GroupDRO on class x environment."""
    labels = inputs.train.labels
    environments = infer_environments(inputs.early_view("EIIL", settings.identification_epochs).logits, labels)
    network, weights = fit_group_dro(
        inputs,
        labels * 2 + environments,
        2 * inputs.num_classes,
        "EIIL",
        step_size=settings.step_size,
        total_decay=settings.total_decay,
    )
    return Trained(
        network,
        facts={
            "smaller_environment": min(int(environments.sum()), int((~environments).sum())),
            "largest_group_weight": weights.max().item(),
        },
    )


EIIL = TrainedMethod(
    name="eiil",
    title="EIIL",
    paper="Creager et al. 2021, arXiv:2010.07249",
    group_labels="none",
    train=_train,
    settings=(
        EIILSettings(),
        EIILSettings(total_decay=1.0),
        EIILSettings(identification_epochs=2),
        EIILSettings(step_size=0.1),
    ),
    starts_from_erm=False,
    cost=identification_cost,
)
