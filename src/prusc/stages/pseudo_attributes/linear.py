"""A source of the pseudo-attribute: cross-fitted predictions of a linear model before the training of the network."""

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor

from prusc.data.rows import StoredRows
from prusc.stages.folds import draw_folds
from prusc.stages.heads import fit_heads, predict_held_out


def predict_linearly(
    seen: Mapping[str, Float[Tensor, "samples dim"] | StoredRows],
    train_labels: Int[Tensor, " train"],
    *,
    num_classes: int,
    l2: float = 0.1,
    num_folds: int = 5,
    generator: torch.Generator,
) -> dict[str, Float[Tensor, "samples classes"]]:
    """Predict the classes by a strongly regularised, class-balanced linear model on frozen representations.

    The representations are those of the network before its training, or after one epoch. A linear model of them knows
    the shortcut and little else. So its prediction stands in for the spurious attribute: a sample conflicts if the
    prediction is not its class. The prediction also says which class's shortcut the sample shows.

    Args:
        seen: Representations of the splits ``train`` and ``val``.
        train_labels: Class of each training sample.
        num_classes: Number of classes.
        l2: Strength of the regularisation; see `fit_head`.
        num_folds: At least 2. A training sample is predicted by a model that has not seen its fold.
        generator: Decides the folds.

    Returns:
        Logits of both splits. Those of the validation split come from the model of all training samples.

    Raises:
        DataError: If the training samples have fewer than two classes.

    Example:
        >>> import torch
        >>> values = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
        >>> labels = (values[:, 0] > 0).long()
        >>> found = predict_linearly(
        ...     {"train": values, "val": values[:5]}, labels, num_classes=2, generator=torch.Generator()
        ... )
        >>> found["train"].shape, found["val"].shape
        (torch.Size([40, 2]), torch.Size([5, 2]))
    """
    values = seen["train"]
    weights = 1 / torch.bincount(train_labels, minlength=num_classes).clamp(min=1)[train_labels].double()
    folds = draw_folds(train_labels, num_folds, generator)
    # The last head sees all folds. With a sample or two per class, a fold can hold all of a class; then nothing can be
    # left out.
    counts = torch.zeros(num_folds, num_classes, dtype=torch.long)
    counts.index_put_((folds, train_labels), torch.ones_like(folds), accumulate=True)
    can_fit = ((counts.sum(dim=0) - counts > 0).sum(dim=1) >= 2).tolist()
    draws = torch.stack([weights * (folds != fold) for fold in range(num_folds) if can_fit[fold]] + [weights])
    heads = fit_heads(values, train_labels, draws, l2=l2, num_classes=num_classes)
    fitted = iter(heads)
    of_fold = [next(fitted) if can_fit[fold] else heads[-1] for fold in range(num_folds)]
    return {"train": predict_held_out(values, folds, of_fold), "val": heads[-1].logits(seen["val"])}
