"""Last-layer retraining on cells: the draws of PruSC, without a mask."""

from dataclasses import dataclass

from prusc.methods.inputs import MethodInputs
from prusc.methods.settings import require_positive
from prusc.methods.trained import Trained, TrainedMethod
from prusc.stages.debiasing_set import build_debiasing_set
from prusc.stages.heads import fit_head


@dataclass(frozen=True)
class LastLayerSettings:
    """Settings of last-layer retraining.

    Attributes:
        l2: Strength of the regularisation of the head; see `prusc.stages.heads.fit_head`.
    """

    l2: float = 1.0

    def __post_init__(self) -> None:
        require_positive(self, "l2")


def _train(inputs: MethodInputs, settings: LastLayerSettings) -> Trained:
    """Refit the head of the ERM network on the training split, balanced over the cells (class x cluster)."""
    seen = inputs.once("representations", lambda: inputs.represent(inputs.trained, inputs.train))
    balanced = build_debiasing_set(inputs.cells, inputs.config.debiasing_set)
    head = fit_head(seen.values, seen.labels, balanced.weights, num_classes=inputs.num_classes, l2=settings.l2)
    network = inputs.erm_network()
    head.apply(network, inputs.head_name)
    return Trained(network)


LAST_LAYER = TrainedMethod(
    name="last-layer",
    title="Last layer on cells",
    paper="Kirichenko et al. 2023, arXiv:2204.02937, with the cells of Le et al. 2024, arXiv:2407.14974, for groups",
    group_labels="none",
    train=_train,
    settings=(
        LastLayerSettings(),
        *(LastLayerSettings(l2=l2) for l2 in (0.1, 10.0, 0.01, 1e-3, 1e-4, 1e-5, 100.0)),
    ),
    starts_from_erm=True,
)
