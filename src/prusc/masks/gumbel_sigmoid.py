"""Random binary masks with a gradient: the straight-through Gumbel-sigmoid."""

from collections.abc import Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

# So small that the few temporaries of one chunk stay in the cache, so large that the kernels are busy.
_CHUNK = 1 << 18


def row_chunks(tensor: Tensor) -> Iterator[slice]:
    """Divide a tensor along its first dimension into parts whose temporaries fit into a CPU's cache.

    Elementwise operations on a CPU are limited by memory, so they are done part by part. A GPU takes the whole tensor.

    Args:
        tensor: Tensor with at least one dimension.

    Yields:
        Slices of the first dimension, in order.
    """
    num_rows = len(tensor)
    step = num_rows
    if tensor.device.type == "cpu" and num_rows:
        step = _CHUNK * num_rows // max(tensor.numel(), 1)
    for start in range(0, num_rows, max(step, 1)):
        yield slice(start, start + max(step, 1))


def _uniform_like(values: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw uniform numbers strictly between 0 and 1.

    On a CPU the generator is the slowest part of a mask step. So each 64-bit draw gives four numbers of 16 bits, which
    are the midpoints of 65,536 equal intervals. Keep-rates are wrong by 2**-17 at most.
    """
    if values.device.type != "cpu":
        return torch.empty_like(values).uniform_(generator=generator)
    bits = torch.empty(-(-values.numel() // 4), dtype=torch.int64)
    bits.random_(torch.iinfo(torch.int64).min, None, generator=generator)
    numbers = bits.view(torch.int16)[: values.numel()].to(values.dtype).view(values.shape)
    return torch.add(numbers.new_tensor(0.5 + 2.0**-17), numbers, alpha=2.0**-16, out=numbers)


class _SampledWeight(torch.autograd.Function):
    """``weight * mask`` as one node, which stores one slope in half precision instead of a dozen tensors."""

    @staticmethod
    def forward(
        ctx: Any, mask_logits: Tensor, weight: Tensor, temperature: float, generator: torch.Generator | None
    ) -> Tensor:
        masked = torch.empty_like(weight, memory_format=torch.contiguous_format)
        # s * (1 - s) lies in [0, 0.25]. Half precision keeps three digits, enough for a gradient that is random itself.
        slope = torch.empty(mask_logits.shape, dtype=torch.float16, device=mask_logits.device)
        for rows in row_chunks(mask_logits):
            logits = mask_logits[rows]
            noisy = _uniform_like(logits, generator).logit_().add_(logits)
            # No other kernel keeps a number where another one is above 0: comparing and multiplying takes seven times
            # as long as the backward pass of a threshold.
            torch.ops.aten.threshold_backward.grad_input(weight[rows].contiguous(), noisy, 0, grad_input=masked[rows])
            soft = (noisy if temperature == 1 else noisy.div_(temperature)).sigmoid_()
            slope[rows] = torch.addcmul(soft, soft, soft, value=-1)
        ctx.save_for_backward(weight, slope)
        ctx.temperature = temperature
        return masked

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        weight, slope = ctx.saved_tensors
        grad = torch.empty_like(slope, dtype=weight.dtype)
        for rows in row_chunks(grad):
            part = grad[rows].copy_(slope[rows])
            part.mul_(grad_outputs[0][rows].contiguous()).mul_(weight[rows].contiguous())
            if ctx.temperature != 1:
                part.div_(ctx.temperature)
        return grad, None, None, None


def sample_masked_weight(
    mask_logits: Float[Tensor, "*shape"],
    weight: Float[Tensor, "*shape"],
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*shape"]:
    """Multiply a frozen weight by a random binary mask, with a gradient for the mask logits.

    With ``s = sigmoid((logits + log u - log(1 - u)) / temperature)`` and ``u`` uniform, the forward mask is
    ``s >= 0.5``. So an entry is kept with probability ``sigmoid(logits)`` at any temperature. The gradient is that of
    ``s``.

    Args:
        mask_logits: One real number per weight.
        weight: The frozen weight; it gets no gradient.
        temperature: Greater than 0. At a smaller temperature, ``s`` is closer to the mask, and its gradient is more
            often near 0.
        generator: Source of the randomness; ``None`` uses the global one.

    Returns:
        ``weight * mask``.

    References:
        Csordas et al. 2021, arXiv:2010.02066; Jang et al. 2017, arXiv:1611.01144.
    """
    masked: Tensor = _SampledWeight.apply(mask_logits, weight, temperature, generator)
    return masked
