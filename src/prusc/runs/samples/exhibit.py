"""What a run or an audit keeps of single samples, so that a report shows them without the data and the networks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from prusc.data.table import Data
from prusc.data.transforms import InputTransform
from prusc.engine.runtime import Runtime
from prusc.stages.audit.clusters import ClusterAudit

# What the networks that are shown are called among the predictions.
FAMILY_OF = {"before": "erm", "after": "subnetwork"}


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What there is to show.

    Attributes:
        data: Of which the validation split is shown.
        networks: ``before`` and, of a run, ``after``: the same network if nothing was gained.
        predictions: By family of networks (see `FAMILY_OF`) and split, of which there is at least ``val``.
        clusters: Those of the validation split.
        look_at: Validation samples that need a picture whatever else is chosen.
        head_name: Module name of the head.
        transform: Normalisation.
        seed: Decides what is chosen at random.
        runtime: Where to compute.
    """

    data: Data
    networks: Mapping[str, nn.Module]
    predictions: Mapping[str, Mapping[str, Tensor]]
    clusters: Sequence[ClusterAudit]
    look_at: Sequence[int]
    head_name: str
    transform: InputTransform
    seed: int
    runtime: Runtime

    def val_predictions(self, name: str) -> Tensor:
        """Return what a network, ``before`` or ``after``, says of the validation samples."""
        return self.predictions[FAMILY_OF[name]]["val"]
