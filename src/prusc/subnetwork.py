"""Stage 6: turn a mask into an ordinary network."""

import copy
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from prusc.data.batches import take_inputs
from prusc.data.table import Split
from prusc.data.transforms import InputTransform
from prusc.masks import BinaryMask, apply_mask, module_modes
from prusc.models import call_model, to_device
from prusc.runtime import Runtime


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


def reestimate_batch_norm(
    model: nn.Module, split: Split, batches: Iterable[Tensor], transform: InputTransform, runtime: Runtime
) -> None:
    """Replace the running statistics of every BatchNorm by their mean over batches, in place.

    Statistics gathered under sampled masks, or under none, are wrong for a fixed mask.

    Args:
        model: On the runtime's device.
        split: Where the batches index into.
        batches: Index batches; none changes nothing.
        transform: Normalisation.
        runtime: Where to compute.
    """
    layers = [m for m in model.modules() if isinstance(m, _BatchNorm) and m.track_running_stats]
    batches = list(batches)
    if not layers or not batches:
        return
    momenta = [layer.momentum for layer in layers]
    try:
        with torch.no_grad(), module_modes(model, False):
            for layer in layers:
                layer.reset_running_stats()
                layer.momentum = None  # A plain mean over the batches instead of a moving one.
                layer.train()
            for batch in batches:
                inputs = to_device(
                    take_inputs(split.inputs, batch), runtime.device, channels_last=runtime.config.channels_last
                )
                with runtime.autocast():
                    call_model(model, transform(inputs))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
