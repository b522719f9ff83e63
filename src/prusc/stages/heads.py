"""Stage 7: refit a head by logistic regression on representations."""

import warnings
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from threadpoolctl import ThreadpoolController
from torch import Tensor, nn

from prusc.data.rows import HELD_VALUES, StoredRows, iterate_blocks, map_blocks
from prusc.errors import DataError, ModelError
from prusc.models.head import get_head
from prusc.stages.block_fits import fit_logistic_by_blocks

# Below so many values, representations times dimensions, a fit has one thread.
_MANY_VALUES = 2**24


class Head(NamedTuple):
    """A linear classifier on representations.

    Attributes:
        weight: One row per class.
        bias: One value per class.
    """

    weight: Float[Tensor, "classes dim"]
    bias: Float[Tensor, " classes"]

    def logits(self, representations: Float[Tensor, "samples dim"] | StoredRows) -> Float[Tensor, "samples classes"]:
        """Return the logits of representations."""
        return map_blocks(lambda block: block @ self.weight.T + self.bias, representations)

    def write(self, layer: nn.Linear) -> None:
        """Copy the head into a linear layer; only the weight if the layer has no bias."""
        with torch.no_grad():
            layer.weight.copy_(self.weight)
            if layer.bias is not None:
                layer.bias.copy_(self.bias)

    def apply(self, model: nn.Module, head_name: str | None = None) -> None:
        """Copy the head into a network.

        Args:
            model: Changed in place.
            head_name: Module name of its head. If ``None``, the only linear layer of this shape.

        Raises:
            ModelError: If no linear layer has that name or shape, or more than one has this shape.
        """
        self.write(get_head(model, self._find_layer(model) if head_name is None else head_name))

    def _find_layer(self, model: nn.Module) -> str:
        linear: dict[str, nn.Linear] = {
            name: module for name, module in model.named_modules() if isinstance(module, nn.Linear)
        }
        fitting = [name for name, module in linear.items() if module.weight.shape == self.weight.shape]
        if len(fitting) != 1:
            raise ModelError(
                f"{type(model).__name__} has {len(fitting)} linear layers of shape {tuple(self.weight.shape)}, "
                f"expected one; give head_name, one of {', '.join(linear) or 'none'}"
            )
        return fitting[0]


@cache
def _find_thread_pools() -> ThreadpoolController:
    # Looking at all loaded libraries takes longer than many a fit.
    return ThreadpoolController()


def _threads_for(num_values: int) -> AbstractContextManager[object]:
    """Return a context in which small products have one thread: several wait for each other ten times as long."""
    return _find_thread_pools().limit(limits=1) if num_values < _MANY_VALUES else nullcontext()


def fit_heads(
    representations: Float[Tensor, "samples dim"] | StoredRows,
    labels: Int[Tensor, " samples"],
    weights: Float[Tensor, "heads samples"],
    *,
    l2: float = 1.0,
    num_classes: int | None = None,
    has_bias: bool = True,
) -> list[Head]:
    """Fit several heads to the same samples with different weights, as those of folds.

    Each is that of `fit_head`. Too many samples for memory are read once for all heads.

    Args:
        representations: See `fit_head`.
        labels: See `fit_head`.
        weights: One row per head.
        l2: See `fit_head`.
        num_classes: See `fit_head`.
        has_bias: See `fit_head`.

    Raises:
        DataError: If the samples of positive weight of some head have fewer than two classes.
    """
    num_classes = int(labels.max()) + 1 if num_classes is None else num_classes
    if not any(_is_too_large(representations, int((own > 0).sum())) for own in weights):
        return [
            fit_head(representations, labels, own, l2=l2, num_classes=num_classes, has_bias=has_bias) for own in weights
        ]
    for own in weights:
        _refuse_one_class(labels[own > 0].unique())
    weight, bias = fit_logistic_by_blocks(representations, labels, weights, l2=l2, num_classes=num_classes)
    return [
        Head(own, own_bias if has_bias else torch.zeros(num_classes))
        for own, own_bias in zip(weight, bias, strict=True)
    ]


def _is_too_large(representations: Tensor | StoredRows, num_used: int) -> bool:
    # scikit-learn would hold several copies of them.
    return num_used * representations.shape[1] > HELD_VALUES


def _refuse_one_class(classes: Tensor) -> None:
    if len(classes) < 2:
        raise DataError(f"a head needs samples of at least two classes, found {len(classes)}")


def fit_head(
    representations: Float[Tensor, "samples dim"] | StoredRows,
    labels: Int[Tensor, " samples"],
    weights: Float[Tensor, " samples"] | None = None,
    *,
    l2: float = 1.0,
    num_classes: int | None = None,
    has_bias: bool = True,
) -> Head:
    """Fit a linear classifier on fixed representations by l2-regularised logistic regression.

    Representations are standardised first. The loss is the weighted mean cross-entropy plus ``l2 / 2`` times the
    squared norm of the weights; the bias is not regularised. With two classes the norm is that of the difference of
    their weights. The result includes the standardisation, so it applies to raw representations. More than
    `prusc.data.rows.HELD_VALUES` numbers are read block by block, from memory or disk.

    Args:
        representations: Any scale; a dimension that is constant up to rounding gets weight 0.
        labels: Class of each sample.
        weights: One per sample, at least 0, on any scale; equal if ``None``.
        l2: Strength of the regularisation, greater than 0.
        num_classes: Rows of the result; the highest label + 1 if ``None``.
        has_bias: Whether the head has a bias; if not, it is set to 0 after the fit.

    Returns:
        The head.

    Raises:
        DataError: If the samples of positive weight have fewer than two classes.

    Example:
        >>> import torch, prusc
        >>> values = torch.tensor([[0.0], [0.2], [0.8], [1.0]])
        >>> head = prusc.fit_head(values, torch.tensor([0, 0, 1, 1]), l2=0.01)
        >>> head.logits(values).argmax(dim=1)
        tensor([0, 0, 1, 1])
    """
    weights = torch.ones(len(labels), dtype=torch.float64) if weights is None else weights
    num_classes = int(labels.max()) + 1 if num_classes is None else num_classes
    used = weights > 0
    classes = labels[used].unique()
    _refuse_one_class(classes)
    if _is_too_large(representations, int(used.sum())):
        return fit_heads(representations, labels, weights[None], l2=l2, num_classes=num_classes, has_bias=has_bias)[0]
    share = weights[used].double()
    share = share / share.sum()
    values = representations[used].double()
    mean = share @ values
    std = (share @ (values - mean).square()).sqrt()
    # A unit that is constant, as after pruning, has no scale to divide by.
    alive = std > 1e-8 + 1e-6 * mean.abs()
    scale = torch.where(alive, 1 / std.clamp(min=1e-8), torch.zeros_like(std))
    standardised = ((values - mean) * scale).float().numpy()
    num_used = len(values)
    regression = LogisticRegression(C=1 / (l2 * num_used), max_iter=500, tol=1e-4)
    with warnings.catch_warnings():
        # A fit that did not converge is still a head; the choice among heads uses held-out samples.
        warnings.simplefilter("ignore", ConvergenceWarning)
        with _threads_for(standardised.size):
            regression.fit(standardised, labels[used].numpy(), sample_weight=(share * num_used).numpy())
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(classes) == 2:
        # scikit-learn has one logit for two classes: each class gets half of it.
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weight = torch.zeros(num_classes, values.shape[1], dtype=torch.float64)
    # A class without a sample must never be predicted.
    bias = torch.full((num_classes,), -1e4, dtype=torch.float64)
    weight[classes] = torch.from_numpy(np.asarray(coefficients, dtype=np.float64)) * scale
    bias[classes] = torch.from_numpy(np.asarray(intercepts, dtype=np.float64)) - weight[classes] @ mean
    return Head(weight.float(), bias.float() if has_bias else torch.zeros(num_classes))


def predict_held_out(
    representations: Float[Tensor, "samples dim"] | StoredRows, fold_ids: Int[Tensor, " samples"], heads: Sequence[Head]
) -> Float[Tensor, "samples classes"]:
    """Return for each sample the logits of the head of its fold.

    Args:
        representations: Of the samples.
        fold_ids: Fold of each sample.
        heads: One per fold, which was fitted without the fold; more are ignored.
    """
    logits = torch.empty(len(fold_ids), len(heads[0].bias))
    for here, block in iterate_blocks(representations):
        own, found = fold_ids[here], logits[here]
        for fold in own.unique().tolist():
            found[own == fold] = heads[fold].logits(block[own == fold])
    return logits
