"""Random binary masks with a gradient: the straight-through Gumbel-sigmoid."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Layouts:
    """Tensors of several sizes and memory layouts, seen as vectors in the order of their memory.

    A GPU takes longer to start an operation than to do it on the weights of one layer. PyTorch does one operation on
    whole lists of tensors at once if their layouts agree, and those of vectors always do.

    Attributes:
        places: Size, strides and order of the dimensions in memory, for each tensor.
    """

    places: tuple[tuple[torch.Size, tuple[int, ...], list[int]], ...]

    @classmethod
    def of(cls, tensors: Sequence[Tensor]) -> "Layouts | None":
        """Return the layouts of tensors, or ``None`` if one of them has gaps or overlaps in its memory."""
        orders = [sorted(range(tensor.ndim), key=tensor.stride, reverse=True) for tensor in tensors]
        if not all(tensor.permute(order).is_contiguous() for tensor, order in zip(tensors, orders, strict=True)):
            return None
        return cls(tuple((t.shape, t.stride(), order) for t, order in zip(tensors, orders, strict=True)))

    def select(self, indices: Iterable[int]) -> "Layouts":
        """Return the layouts of some of the tensors."""
        return Layouts(tuple(self.places[index] for index in indices))

    def flatten(self, tensors: Iterable[Tensor]) -> list[Tensor]:
        """Return tensors of these sizes as vectors, which share the memory of those with these layouts."""
        return [tensor.permute(order).reshape(-1) for tensor, (_, _, order) in zip(tensors, self.places, strict=True)]

    def unflatten(self, vectors: Iterable[Tensor]) -> list[Tensor]:
        """Return vectors as tensors of these sizes and layouts, in the same memory."""
        pairs = zip(vectors, self.places, strict=True)
        return [vector.as_strided(shape, stride) for vector, (shape, stride, _) in pairs]


class _SampledWeights(torch.autograd.Function):
    """`_SampledWeight` for all layers at once: some thirty operations, where one by one they would be a thousand."""

    @staticmethod
    def forward(
        ctx: Any, temperature: float, generator: torch.Generator | None, layouts: Layouts, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        mask_logits, weights = tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]
        sizes = [logits.numel() for logits in mask_logits]
        noise = _uniform_like(mask_logits[0].new_empty(sum(sizes)), generator).logit_()
        noisy = noise.split(sizes)
        torch._foreach_add_(noisy, layouts.flatten(mask_logits))
        soft = noise.sigmoid() if temperature == 1 else noise.div(temperature).sigmoid_()
        slope = soft.addcmul_(soft, soft, value=-1)
        if temperature != 1:
            slope.div_(temperature)
        # The sums become the mask: 1 where they are above 0.
        noise.gt_(0)
        masked = torch._foreach_mul(noisy, layouts.flatten(weights))
        ctx.save_for_backward(slope, *weights)
        ctx.sizes, ctx.layouts = sizes, layouts
        ctx.set_materialize_grads(False)
        return tuple(layouts.unflatten(masked))

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor | None) -> tuple[Tensor | None, ...]:
        slope, *weights = ctx.saved_tensors
        # A layer that the loss does not depend on has no gradient.
        arrived = {index: grad for index, grad in enumerate(grad_outputs) if grad is not None}
        slopes = slope.split(ctx.sizes)
        layouts = ctx.layouts.select(arrived)
        grads = torch._foreach_mul(layouts.flatten(arrived.values()), layouts.flatten(weights[i] for i in arrived))
        torch._foreach_mul_(grads, [slopes[index] for index in arrived])
        found = dict(zip(arrived, layouts.unflatten(grads), strict=True))
        return (None, None, None, *map(found.get, range(len(weights))), *[None] * len(weights))


def sample_masked_weights(
    mask_logits: Sequence[Tensor],
    weights: Sequence[Tensor],
    *,
    temperature: float = 1.0,
    generator: torch.Generator | None = None,
) -> list[Tensor]:
    """Multiply several frozen weights by random binary masks, as `sample_masked_weight` does with one.

    On a CPU layer by layer, in parts that fit into the cache. Elsewhere all layers at once.

    Args:
        mask_logits: For each weight, one real number per entry.
        weights: The frozen weights.
        temperature: Greater than 0.
        generator: Source of the randomness; ``None`` uses the global one.

    Returns:
        ``weight * mask`` for each weight.
    """
    kinds = {(tensor.device, tensor.dtype) for tensor in (*mask_logits, *weights)}
    if len(kinds) == 1 and mask_logits[0].device.type != "cpu":
        layouts = Layouts.of(mask_logits)
        if layouts is not None:
            return list(_SampledWeights.apply(temperature, generator, layouts, *mask_logits, *weights))
    return [
        sample_masked_weight(logits, weight, temperature=temperature, generator=generator)
        for logits, weight in zip(mask_logits, weights, strict=True)
    ]
