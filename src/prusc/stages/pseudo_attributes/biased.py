"""Biased models as source of the pseudo-attribute: they favour easy samples, so their predictions follow a shortcut."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prusc.config import BiasedConfig, ERMConfig
from prusc.data.rows import HELD_VALUES, StoredRows, iterate_blocks, measure_columns
from prusc.engine.feed import Feed
from prusc.engine.progress import ProgressOption, resolve_progress
from prusc.engine.runtime import stage_generator
from prusc.engine.training import LossFunction, Schedule, epoch_batches, num_epoch_batches, train_weights
from prusc.errors import DataError
from prusc.losses import generalized_cross_entropy
from prusc.models.calls import call_model
from prusc.stages.folds import draw_folds
from prusc.stages.heads import Head
from prusc.stages.representations import predict


@dataclass(frozen=True, eq=False)
class BiasedIds:
    """Classes that a biased model predicts: values of a pseudo-attribute.

    Attributes:
        train: Value of each training sample, in ``[0, num_classes)``.
        val: Value of each validation sample.
    """

    train: Int[Tensor, " train"]
    val: Int[Tensor, " val"]


def make_biased_loss(labels: Int[Tensor, " samples"], *, q: float) -> LossFunction:
    """Return the mean generalised cross-entropy as a loss of `prusc.engine.training.train_weights`.

    Args:
        labels: Class of each sample that the batches index into.
        q: Exponent of the loss.
    """

    def loss(model: nn.Module, batch: Tensor, indices: Tensor) -> Tensor:
        return generalized_cross_entropy(call_model(model, batch), labels[indices].to(batch.device), q=q).mean()

    return loss


def infer_by_biased_network(
    network: nn.Module,
    train_feed: Feed,
    val_feed: Feed,
    erm: ERMConfig,
    config: BiasedConfig | None = None,
    generator: torch.Generator | None = None,
    *,
    progress: ProgressOption = None,
) -> BiasedIds:
    """Train a whole network with the generalised cross-entropy, and take its predictions for the pseudo-attribute.

    Args:
        network: Network before its training, on the feeds' device; trained in place.
        train_feed: Training split with the augmentation of ERM, which the predictions do without.
        val_feed: Validation split.
        erm: Batch size, learning rate and weight decay.
        config: Exponent of the loss and number of epochs; the defaults if ``None``.
        generator: Decides batches and augmentation; seed 0 if ``None``.
        progress: Where progress is reported.

    Returns:
        The predictions for both splits.

    References:
        Nam et al. 2020, arXiv:2007.02561; Park et al. 2023, arXiv:2210.05247.
    """
    config, generator = config or BiasedConfig(), generator or stage_generator(0, "biased network")
    report, labels, size = resolve_progress(progress), train_feed.split.labels, erm.batch_size
    num_steps = config.epochs * num_epoch_batches(len(labels), size)
    batches = (batch for _ in range(config.epochs) for batch in epoch_batches(len(labels), size, generator))
    train_weights(
        network,
        train_feed,
        Schedule(batches, num_steps, erm.learning_rate, erm.weight_decay),
        generator=generator,
        name="biased network",
        loss_function=make_biased_loss(labels, q=config.q),
        after_step=lambda step, _: report.advance("biased network", step, num_steps),
    )
    plain = val_feed.of(train_feed.split)
    return BiasedIds(predict(network, plain).argmax(dim=1), predict(network, val_feed).argmax(dim=1))


def infer_by_biased_head(
    features_train: Float[Tensor, "train dim"] | StoredRows,
    labels_train: Int[Tensor, " train"],
    features_val: Float[Tensor, "val dim"] | StoredRows,
    config: BiasedConfig | None = None,
    generator: torch.Generator | None = None,
) -> BiasedIds:
    """Fit a linear head with the generalised cross-entropy to frozen features, and take its predictions.

    A training sample is predicted by a head that was fitted without its fold, a validation sample by the head of all
    training samples.

    Args:
        features_train: Frozen features, such as representations of the network before its training; any scale.
        labels_train: Class of each training sample.
        features_val: Features of the validation split.
        config: Exponent, regularisation and number of folds; the defaults if ``None``.
        generator: Decides the folds; seed 0 if ``None``.

    Returns:
        The predictions for both splits.

    Raises:
        DataError: If the training samples have fewer than two classes.

    Example:
        >>> import torch
        >>> labels = torch.arange(100) % 2
        >>> shortcut = torch.where(torch.arange(100) < 90, labels, 1 - labels)
        >>> features = shortcut[:, None] + 0.1 * torch.randn(100, 3, generator=torch.Generator().manual_seed(0))
        >>> found = infer_by_biased_head(features, labels, features)
        >>> bool((found.train == shortcut).all())
        True
    """
    config, generator = config or BiasedConfig(), generator or stage_generator(0, "biased head")
    fold_ids = draw_folds(labels_train, config.folds, generator)
    train = torch.empty_like(labels_train)
    for fold in range(config.folds):
        inside = fold_ids == fold
        head = fit_biased_head(_choose(features_train, ~inside), labels_train[~inside], q=config.q, l2=config.l2)
        train[inside] = head.logits(_choose(features_train, inside)).argmax(dim=1)
    head = fit_biased_head(features_train, labels_train, q=config.q, l2=config.l2)
    return BiasedIds(train, head.logits(features_val).argmax(dim=1))


def _choose(features: Tensor | StoredRows, flags: Tensor) -> Tensor | StoredRows:
    return features.choose(flags) if isinstance(features, StoredRows) else features[flags]


def fit_biased_head(
    features: Float[Tensor, "samples dim"] | StoredRows, labels: Int[Tensor, " samples"], *, q: float, l2: float
) -> Head:
    """Fit a linear head with the class-balanced generalised cross-entropy, from zero.

    The objective is the mean over the classes of their mean loss plus ``l2 / 2`` times the squared norm of the weights
    for standardised features. It has several minima; the one that L-BFGS reaches from zero counts.

    Args:
        features: Any scale.
        labels: Class of each sample.
        q: Exponent of the loss.
        l2: Strength of the regularisation, greater than 0.

    Returns:
        The head, for raw features.

    Raises:
        DataError: If there are fewer than two classes.
    """
    sizes = torch.bincount(labels).double()
    num_classes, num_present = len(sizes), int((sizes > 0).sum())
    if num_present < 2:
        raise DataError(f"a biased head needs samples of at least two classes, found {num_present}")
    weights = (1 / sizes.clamp(min=1) / num_present)[labels]
    mean, std = measure_columns(features)
    # A unit that is constant up to rounding would be noise divided by almost 0.
    scale = torch.where(std > 1e-8 + 1e-6 * mean.abs(), 1 / std.clamp(min=1e-8), 0.0)
    is_held = len(features) * features.shape[1] <= HELD_VALUES
    whole = [(slice(None), _standardise(features[:], mean, scale))] if is_held else None

    def standardised() -> Iterable[tuple[slice, Tensor]]:
        if whole is not None:
            return whole
        return ((here, _standardise(block, mean, scale)) for here, block in iterate_blocks(features))

    weight = torch.zeros(num_classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weight, bias], max_iter=200, tolerance_grad=1e-6, tolerance_change=1e-8, line_search_fn="strong_wolfe"
    )

    def objective() -> Tensor:
        solver.zero_grad()
        total = l2 / 2 * weight.square().sum()
        total.backward()
        for here, block in standardised():
            losses = generalized_cross_entropy(block @ weight.T + bias, labels[here], q=q)
            part: Tensor = (weights[here].float() * losses).sum()
            part.backward()
            total = total.detach() + part.detach()
        return total.detach()

    solver.step(objective)
    raw = weight.detach() * scale.float()
    return Head(raw, bias.detach() - raw @ mean.float())


def _standardise(block: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    return ((block.double() - mean) * scale).float()
