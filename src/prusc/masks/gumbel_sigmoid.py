"""Random binary masks with a gradient: the straight-through Gumbel-sigmoid."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

# Small enough that the handful of temporaries of one chunk stay in the cache, large enough to keep the kernels busy.
_CHUNK = 1 << 17


def _uniform_like(values: Tensor, generator: torch.Generator | None) -> Tensor:
    """Draw uniform numbers strictly between 0 and 1.

    On a CPU the generator is the slowest part of a mask step, so each 64-bit draw serves four numbers of 16 bits, the
    middles of 65,536 equal intervals: keep-rates are off by 2**-17 at most.
    """
    if values.device.type != "cpu":
        return torch.empty_like(values).uniform_(generator=generator)
    bits = torch.empty(-(-values.numel() // 4), dtype=torch.int64)
    bits.random_(torch.iinfo(torch.int64).min, None, generator=generator)
    return bits.view(torch.int16)[: values.numel()].to(values.dtype).add_(32768.5).mul_(2.0**-16)


class _SampledWeight(torch.autograd.Function):
    """``weight * mask`` in one node: saves half a byte-width slope instead of the chain of a dozen tensors."""

    @staticmethod
    def forward(
        ctx: Any, mask_logits: Tensor, weight: Tensor, temperature: float, generator: torch.Generator | None
    ) -> Tensor:
        masked = torch.empty_like(weight, memory_format=torch.contiguous_format)
        # s * (1 - s) lies in [0, 0.25]: half precision keeps three digits of a gradient that is itself a random draw.
        slope = torch.empty(mask_logits.shape, dtype=torch.float16, device=mask_logits.device)
        flat_logits, flat_weight = mask_logits.reshape(-1), weight.reshape(-1)
        flat_masked, flat_slope = masked.view(-1), slope.view(-1)
        for start in range(0, flat_logits.numel(), _CHUNK):
            part = slice(start, start + _CHUNK)
            logits = flat_logits[part]
            noisy = _uniform_like(logits, generator).logit_().add_(logits)
            torch.mul(flat_weight[part], noisy >= 0, out=flat_masked[part])
            soft = noisy.div_(temperature).sigmoid_()
            flat_slope[part] = soft * (1 - soft)
        ctx.save_for_backward(weight, slope)
        ctx.temperature = temperature
        return masked

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None, None]:
        weight, slope = ctx.saved_tensors
        grad = grad_outputs[0] * weight
        return grad.mul_(slope).div_(ctx.temperature), None, None, None


def sample_masked_weight(
    mask_logits: Float[Tensor, "*shape"],
    weight: Float[Tensor, "*shape"],
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "*shape"]:
    r"""Multiply a frozen weight with a random binary mask, keeping a gradient for the mask logits.

    With ``s = sigmoid((logits + log u - log(1 - u)) / temperature)`` and ``u`` uniform, the mask is ``s >= 0.5`` going
    forward, so an entry is kept with probability ``sigmoid(logits)`` at any temperature; the gradient is that of ``s``.

    Args:
        mask_logits: One real number per weight.
        weight: The frozen weight; it gets no gradient.
        temperature: Greater than 0; the smaller, the closer ``s`` is to the mask and the rarer its gradient.
        generator: Source of the randomness; the global one if ``None``.

    Returns:
        ``weight * mask``.

    References:
        Csordas et al. 2021, arXiv:2010.02066; Jang et al. 2017, arXiv:1611.01144.
    """
    masked: Tensor = _SampledWeight.apply(mask_logits, weight, temperature, generator)
    return masked
