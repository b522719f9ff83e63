"""Refit a head: standardised, regularised, class-balanced logistic regression on representations."""

import warnings

import numpy as np
import torch
from jaxtyping import Float, Int
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from prusc.errors import DataError


def fit_head(
    representations: Float[Tensor, "samples dim"],
    labels: Int[Tensor, " samples"],
    weights: Float[Tensor, " samples"],
    *,
    num_classes: int,
    l2: float,
) -> tuple[Float[Tensor, "classes dim"], Float[Tensor, " classes"]]:
    """Fit a linear classifier to fixed representations.

    Minimises the weighted mean cross-entropy plus ``l2 / 2`` times the squared norm of the weights of the standardised
    representations (the bias is free), then folds the standardisation into the result. With two classes the norm is
    that of the difference of their weights.

    Args:
        representations: Any scale; a dimension that is constant, up to the last digits, gets weight 0.
        labels: Class of each sample.
        weights: Of each sample, at least 0; their scale does not matter.
        num_classes: Rows of the result.
        l2: Strength of the regularisation, greater than 0.

    Returns:
        Weight and bias of the head.

    Raises:
        DataError: If the samples with a weight are of fewer than two classes.
    """
    used = weights > 0
    classes = labels[used].unique()
    if len(classes) < 2:
        raise DataError(f"a head needs samples of at least two classes, found {len(classes)}")
    share = weights[used].double()
    share = share / share.sum()
    values = representations[used].double()
    mean = share @ values
    std = (share @ (values - mean).square()).sqrt()
    # Where a unit never moves, as after pruning, its weight would be noise divided by nothing.
    alive = std > 1e-8 + 1e-6 * mean.abs()
    scale = torch.where(alive, 1 / std.clamp(min=1e-8), torch.zeros_like(std))
    standardised = ((values - mean) * scale).float().numpy()
    num_used = len(values)
    regression = LogisticRegression(C=1 / (l2 * num_used), max_iter=500, tol=1e-4)
    with warnings.catch_warnings():
        # An unfinished fit is still a head; which one is best is decided on held-out cells.
        warnings.simplefilter("ignore", ConvergenceWarning)
        regression.fit(standardised, labels[used].numpy(), sample_weight=(share * num_used).numpy())
    coefficients, intercepts = regression.coef_, regression.intercept_
    if len(classes) == 2:
        # One logit for two classes: give each class half of it.
        coefficients = np.concatenate([-coefficients, coefficients]) / 2
        intercepts = np.concatenate([-intercepts, intercepts]) / 2
    weight = torch.zeros(num_classes, values.shape[1], dtype=torch.float64)
    # A class without a sample must never be predicted.
    bias = torch.full((num_classes,), -1e4, dtype=torch.float64)
    weight[classes] = torch.from_numpy(np.asarray(coefficients, dtype=np.float64)) * scale
    bias[classes] = torch.from_numpy(np.asarray(intercepts, dtype=np.float64)) - weight[classes] @ mean
    return weight.float(), bias.float()


def set_head(head: nn.Linear, weight: Float[Tensor, "classes dim"], bias: Float[Tensor, " classes"]) -> None:
    """Write a fitted head into a network's linear layer; without a bias parameter only the weight is written."""
    with torch.no_grad():
        head.weight.copy_(weight)
        if head.bias is not None:
            head.bias.copy_(bias)
