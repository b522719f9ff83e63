"""BatchNorm: statistics over the batch of all processes, and re-estimated running statistics."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from prusc.engine.feed import Feed
from prusc.engine.runtime import Runtime
from prusc.masks import module_modes
from prusc.models.calls import call_model


@contextmanager
def synchronized_batch_norm(model: nn.Module, runtime: Runtime) -> Iterator[None]:
    """Inside the ``with`` block every BatchNorm uses the statistics of the whole batch, across processes.

    PyTorch's ``SyncBatchNorm`` works on GPUs only. With one process nothing changes.

    Args:
        model: Inside the block its BatchNorm modules have another ``forward``.
        runtime: The processes of the run.
    """
    modules = [module for module in model.modules() if isinstance(module, _BatchNorm)]
    if runtime.num_processes == 1:
        modules = []
    own = {module: module.__dict__["forward"] for module in modules if "forward" in module.__dict__}
    for module in modules:
        # On the instance, because the class serves other networks too.
        module.__dict__["forward"] = partial(_global_forward, module)
    try:
        yield
    finally:
        for module in modules:
            del module.__dict__["forward"]
            if module in own:
                module.__dict__["forward"] = own[module]


def _global_forward(module: Any, inputs: Tensor) -> Tensor:
    normalised = _normalise(module, inputs)
    # timm's BatchNorms include the dropout and the activation that follow them.
    for follower in ("drop", "act"):
        if hasattr(module, follower):
            normalised = getattr(module, follower)(normalised)
    return normalised


def _normalise(module: Any, inputs: Tensor) -> Tensor:
    use_batch = module.training or module.running_mean is None
    if not use_batch:
        return torch.nn.functional.batch_norm(
            inputs, module.running_mean, module.running_var, module.weight, module.bias, False, 0.0, module.eps
        )
    dims = [dim for dim in range(inputs.ndim) if dim != 1]
    values = inputs.float()
    count = values.new_tensor([values.numel() / values.shape[1]])
    # Two passes, as in the single-process kernel: E[x^2] - E[x]^2 loses all digits in 32 bits.
    mean_and_count = all_reduce(torch.cat([values.sum(dims), count]))
    total = mean_and_count[-1].detach()
    mean = mean_and_count[:-1] / total
    shape = [1, -1] + [1] * (inputs.ndim - 2)
    centred = values - mean.view(shape)
    variance = all_reduce(centred.square().sum(dims)) / total
    if module.training and module.track_running_stats and module.running_mean is not None:
        with torch.no_grad():
            module.num_batches_tracked.add_(1)
            momentum = module.momentum if module.momentum is not None else 1 / module.num_batches_tracked.item()
            module.running_mean.lerp_(mean.detach().to(module.running_mean.dtype), momentum)
            unbiased = variance.detach() * total / (total - 1).clamp(min=1)
            module.running_var.lerp_(unbiased.to(module.running_var.dtype), momentum)
    normalised = centred * (variance + module.eps).rsqrt().view(shape)
    if module.affine:
        normalised = normalised * module.weight.view(shape) + module.bias.view(shape)
    result: Tensor = normalised.to(inputs.dtype)
    return result


def reestimate_batch_norm(model: nn.Module, feed: Feed, batches: Iterable[Tensor]) -> None:
    """Set the running statistics of every BatchNorm to their mean over batches, in place.

    A fixed mask needs its own: statistics from sampled masks, or from the whole network, are wrong for it.

    Args:
        model: On the feed's device.
        feed: The split that the batches index into, without augmentation.
        batches: Index batches. Without any, the statistics stay as they are.
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
                with feed.runtime.autocast():
                    call_model(model, feed.take(batch))
    finally:
        for layer, momentum in zip(layers, momenta, strict=True):
            layer.momentum = momentum
