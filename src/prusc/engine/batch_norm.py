"""BatchNorm: statistics over the batch of all processes, and re-estimated running statistics."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.distributed import all_gather_into_tensor, all_reduce, get_world_size
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
    # In half precision, statistics of large batches are wrong.
    values = inputs if inputs.dtype in (torch.float32, torch.float64) else inputs.float()
    mean, variance, count = _global_statistics(values.detach())
    if module.training and module.track_running_stats and module.running_mean is not None:
        with torch.no_grad():
            module.num_batches_tracked.add_(1)
            momentum = module.momentum if module.momentum is not None else 1 / module.num_batches_tracked.item()
            module.running_mean.lerp_(mean.to(module.running_mean.dtype), momentum)
            unbiased = variance * count / (count - 1).clamp(min=1)
            module.running_var.lerp_(unbiased.to(module.running_var.dtype), momentum)
    mean, variance = mean.to(values.dtype), variance.to(values.dtype)
    weight = module.weight.to(mean.dtype) if module.affine else torch.ones_like(mean)
    bias = module.bias.to(mean.dtype) if module.affine else torch.zeros_like(mean)
    normalised: Tensor = _Normalised.apply(values, weight, bias, mean, variance, count.to(values.dtype), module.eps)
    return normalised.to(inputs.dtype)


def _global_statistics(values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return mean, variance and number of values of a channel over the batch of all processes, in 64 bits."""
    num_channels, count = values.shape[1], values.numel() // values.shape[1]
    own = torch.zeros(2 * num_channels + 1, dtype=torch.float64, device=values.device)
    if count:
        mean, variance = torch.batch_norm_update_stats(values, None, None, 0.0)
        own = torch.cat([mean.double(), variance.double(), own.new_tensor([count])])
    gathered = own.new_empty(get_world_size() * len(own))
    all_gather_into_tensor(gathered, own)
    means, variances, counts = gathered.view(-1, len(own)).split([num_channels, num_channels, 1], dim=1)
    total = counts.sum()
    mean = (counts * means).sum(dim=0) / total
    # Not E[x^2] - E[x]^2, which loses all digits where the mean is large.
    variance = (counts * (variances + (means - mean).square())).sum(dim=0) / total
    return mean, variance, total


class _Normalised(torch.autograd.Function):
    """BatchNorm by given statistics of the whole batch, with the gradient that flows through them.

    Each pass over the activations is one kernel of PyTorch. Written with autograd, it would be ten.
    """

    @staticmethod
    def forward(
        ctx: Any,
        values: Tensor,
        weight: Tensor,
        bias: Tensor,
        mean: Tensor,
        variance: Tensor,
        count: Tensor,
        eps: float,
    ) -> Tensor:
        ctx.save_for_backward(values, weight, mean, variance, count)
        ctx.eps = eps
        return torch.nn.functional.batch_norm(values, mean, variance, weight, bias, False, 0.0, eps)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        values, weight, mean, variance, count = ctx.saved_tensors
        # As if the statistics were constants: the gradient, and the sums of grad * normalised and of grad.
        grad, of_weight, of_bias = torch.ops.aten.native_batch_norm_backward(
            grad_output, values, weight, mean, variance, None, None, False, ctx.eps, [True, True, True]
        )
        sums = torch.stack([of_weight, of_bias])
        all_reduce(sums)
        scale = weight * (variance + ctx.eps).rsqrt() / count
        # What flows through the statistics: scale * (sum of grad + normalised * sum of grad * normalised).
        through = torch.nn.functional.batch_norm(
            values, mean, variance, scale * sums[0], scale * sums[1], False, 0.0, ctx.eps
        )
        return grad.sub_(through), of_weight, of_bias, None, None, None, None


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
