"""Stage 6: turn a mask into an ordinary network."""

import copy
from collections.abc import Iterable

from torch import Tensor, nn

from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.engine.batch_norm import reestimate_batch_norm
from prusc.engine.runtime import Runtime
from prusc.masks import BinaryMask, apply_mask


def extract_subnetwork(
    model: nn.Module,
    mask: BinaryMask,
    split: Split,
    batches: Iterable[Tensor],
    transform: InputTransform,
    runtime: Runtime,
) -> nn.Module:
    """Copy a network, set its pruned weights to zero and estimate the statistics of BatchNorm anew.

    Args:
        model: On the runtime's device; not changed.
        mask: What to keep.
        split: Where the batches index into.
        batches: Index batches that the statistics are gathered on; none leaves them as they are.
        transform: Normalisation, without augmentation.
        runtime: Where to compute.

    Returns:
        A network of the same class with the same state-dict keys.
    """
    subnetwork = copy.deepcopy(model)
    apply_mask(subnetwork, mask)
    reestimate_batch_norm(subnetwork, split, batches, transform, runtime)
    return subnetwork
