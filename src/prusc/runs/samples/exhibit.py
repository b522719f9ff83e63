"""What a run or an audit can show of single samples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor, nn

from prusc.data.table import Data
from prusc.engine.feed import Feed
from prusc.stages.audit.clusters import ClusterAudit
from prusc.stages.representations import Representations

# Family, in the predictions, of each network that is shown.
FAMILY_OF = {"before": "erm", "after": "subnetwork"}


@dataclass(frozen=True, eq=False)
class Exhibit:
    """What a run or an audit can show of its samples.

    Attributes:
        data: Data whose validation split is shown.
        networks: ``before`` is the ERM network. A run also has ``after``, the chosen network, which may be the same.
        predictions: Predicted classes by family of networks (see `FAMILY_OF`) and split; ``val`` is always there.
        clusters: Clusters of the validation split.
        look_at: Indices of validation samples that always get a picture.
        head_name: Module name of the head.
        feed: The validation split as networks are evaluated on it.
        seed: Seed of the random choices.
        logits: Logits behind the validation predictions by family. What is missing is computed by the networks.
        seen: Representations and logits of the validation split by network, as far as they are known.
    """

    data: Data
    networks: Mapping[str, nn.Module]
    predictions: Mapping[str, Mapping[str, Tensor]]
    clusters: Sequence[ClusterAudit]
    look_at: Sequence[int]
    head_name: str
    feed: Feed
    seed: int
    logits: Mapping[str, Tensor] = field(default_factory=dict)
    seen: Mapping[str, Representations] = field(default_factory=dict)

    def val_predictions(self, name: str) -> Tensor:
        """Return the validation predictions of a network, ``before`` or ``after``."""
        return self.predictions[FAMILY_OF[name]]["val"]
