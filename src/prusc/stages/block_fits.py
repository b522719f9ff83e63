"""Logistic regression on more representations than fit into memory: exact, block by block."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.optimize import minimize
from torch import Tensor
from torch.nn import functional as F

from prusc.data.rows import StoredRows, iterate_blocks

# The fit begins with so many numbers in memory; from its result, a few passes over all of them are enough.
_FIRST_VALUES = 2**23
# A class without a sample must never be predicted.
_NEVER = -1e4

Blocks = Callable[[], Iterator[tuple[Tensor, Tensor, Tensor]]]
"""Function that yields the representations, the labels and the shares [heads, block] of each block."""


def fit_logistic_by_blocks(
    representations: Float[Tensor, "samples dim"] | StoredRows,
    labels: Int[Tensor, " samples"],
    weights: Float[Tensor, "heads samples"],
    *,
    l2: float,
    num_classes: int,
) -> tuple[Float[Tensor, "heads classes dim"], Float[Tensor, "heads classes"]]:
    """Fit logistic regressions to the same samples with different weights; see `prusc.stages.heads.fit_head`.

    L-BFGS minimises the sum of the objectives of all heads. They share no parameter, so its minimum is that of each,
    and a pass over the samples serves them all.

    Args:
        representations: In memory or on disk.
        labels: Class of each sample.
        weights: One row per head, at least 0, on any scale, with samples of at least two classes.
        l2: Strength of the regularisation.
        num_classes: Number of classes.

    Returns:
        Weights and biases of the heads, for raw representations.
    """
    chosen = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    chosen = chosen[: max(1, _FIRST_VALUES // representations.shape[1])].sort().values
    first, first_labels, first_weights = representations[chosen], labels[chosen], weights[:, chosen]
    start = torch.zeros(len(weights), num_classes, representations.shape[1] + 1, dtype=torch.float64)
    if bool((first_weights > 0).any(dim=1).all()):
        totals = first_weights.sum(dim=1, keepdim=True)

        def only() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
            yield first, first_labels, first_weights / totals

        start = _Problem(only, first.double().mean(dim=0), num_classes, l2).solve(start)

    sums = weights.sum(dim=1, keepdim=True)

    def blocks() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for here, block in iterate_blocks(representations):
            yield block, labels[here], weights[:, here] / sums

    problem = _Problem(blocks, first.double().mean(dim=0), num_classes, l2)
    return problem.as_heads(problem.solve(start))


@dataclass(frozen=True, eq=False)
class _Moments:
    """Per head: mean and scale of each dimension, and the classes that have samples."""

    mean: Float[Tensor, "heads dim"]
    scale: Float[Tensor, "heads dim"]
    is_present: Tensor


class _Problem:
    """The sum of the objectives of all heads.

    Args:
        blocks: The samples.
        origin: A point near the mean of the representations [dim], so that 32 bits suffice for their differences.
        num_classes: Number of classes.
        l2: Strength of the regularisation.
    """

    def __init__(self, blocks: Blocks, origin: Float[Tensor, " dim"], num_classes: int, l2: float) -> None:
        self.blocks, self.origin, self.num_classes = blocks, origin, num_classes
        self.moments = self._measure()
        # scikit-learn has one logit for two classes, whose norm is that of the difference of their weights.
        two = self.moments.is_present.sum(dim=1) == 2
        self.l2 = l2 * torch.where(two, 2.0, 1.0).double()[:, None, None]

    def _measure(self) -> _Moments:
        first: Tensor | float = 0.0
        second: Tensor | float = 0.0
        counts: Tensor | float = 0.0
        for block, labels, shares in self.blocks():
            centred = block - self.origin.float()
            first = first + (shares.float() @ centred).double()
            second = second + (shares.float() @ centred.square()).double()
            counts = counts + shares @ F.one_hot(labels, self.num_classes).double()
        assert isinstance(first, Tensor) and isinstance(second, Tensor) and isinstance(counts, Tensor), "no samples"
        mean, std = self.origin + first, (second - first.square()).clamp(min=0).sqrt()
        alive = std > 1e-8 + 1e-6 * mean.abs()
        return _Moments(mean, torch.where(alive, 1 / std.clamp(min=1e-8), 0.0), counts > 0)

    def solve(self, start: Float[Tensor, "heads classes dim_and_1"]) -> Float[Tensor, "heads classes dim_and_1"]:
        """Minimise the objective, from weights and biases for standardised representations."""

        def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            loss, gradient = self.evaluate(torch.from_numpy(flat).view_as(start))
            return loss, gradient.flatten().numpy()

        # The limits of scikit-learn.
        options = {"maxiter": 500, "maxls": 50, "gtol": 1e-4, "ftol": 64 * np.finfo(np.float64).eps}
        found = minimize(objective, start.flatten().numpy(), jac=True, method="L-BFGS-B", options=options)
        return torch.from_numpy(np.asarray(found.x, dtype=np.float64)).view_as(start)

    def evaluate(self, theta: Float[Tensor, "heads classes dim_and_1"]) -> tuple[float, Tensor]:
        """Return the objective and its gradient."""
        num_heads, num_classes, _ = theta.shape
        raw, offsets = self._apply_scale(theta)
        offsets = torch.where(self.moments.is_present, offsets, _NEVER)
        loss = (self.l2 / 2 * theta[..., :-1].square()).sum().item()
        of_raw, of_bias = torch.zeros_like(raw), torch.zeros_like(offsets)
        matrix, origin = raw.flatten(0, 1).float(), self.origin.float()
        for block, labels, shares in self.blocks():
            centred = block - origin
            logits = (centred @ matrix.T).view(len(block), num_heads, num_classes) + offsets.float()
            log_probabilities = logits.log_softmax(dim=2)
            own = labels.view(-1, 1, 1).expand(-1, num_heads, 1)
            of_sample = shares.T.float()
            loss -= (of_sample * log_probabilities.gather(2, own)[..., 0]).sum().item()
            slopes = log_probabilities.exp_().scatter_add_(2, own, torch.full(own.shape, -1.0)) * of_sample[..., None]
            of_raw += (slopes.flatten(1).T @ centred).view_as(raw)
            of_bias += slopes.sum(dim=0)
        shift = self.moments.mean - self.origin
        of_weight = (of_raw - of_bias[..., None] * shift[:, None]) * self.moments.scale[:, None]
        gradient = torch.cat([of_weight + self.l2 * theta[..., :-1], of_bias[..., None]], dim=2)
        return loss, gradient * self.moments.is_present[..., None]

    def _apply_scale(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights and biases for representations minus the origin."""
        raw = theta[..., :-1] * self.moments.scale[:, None]
        return raw, theta[..., -1] - (raw * (self.moments.mean - self.origin)[:, None]).sum(dim=2)

    def as_heads(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return weights and biases for raw representations."""
        raw, offsets = self._apply_scale(theta)
        bias = torch.where(self.moments.is_present, offsets - raw @ self.origin, _NEVER)
        return (raw * self.moments.is_present[..., None]).float(), bias.float()
