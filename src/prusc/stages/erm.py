"""Stage 1: ordinary training (empirical risk minimisation, ERM)."""

from collections.abc import Callable

from torch import nn

from prusc.config import ERMConfig
from prusc.engine.feed import Feed
from prusc.engine.progress import ProgressOption, resolve_progress
from prusc.engine.runtime import stage_generator
from prusc.engine.training import Schedule, epoch_batches, num_epoch_batches, train_weights


def train_erm(
    model: nn.Module,
    feed: Feed,
    config: ERMConfig,
    *,
    seed: int,
    num_epochs: int | None = None,
    after_epoch: Callable[[int], None] | None = None,
    progress: ProgressOption = None,
) -> None:
    """Train a network in place by cross-entropy.

    Args:
        model: On the feed's device.
        feed: The training split, with its augmentation.
        config: Epochs, batch size, learning rate and weight decay.
        seed: Seed of the batches and the augmentation.
        num_epochs: Stop after this number of epochs, in the middle of the schedule; all epochs if ``None``.
        after_epoch: Called after each epoch with the number of epochs done.
        progress: Where progress is reported.

    Raises:
        TrainingError: If the loss is not finite.
    """
    report = resolve_progress(progress)
    last = config.epochs if num_epochs is None else num_epochs
    generator = stage_generator(seed, "erm")
    per_epoch = num_epoch_batches(len(feed), config.batch_size)

    def after_step(step: int, loss: float) -> None:
        report.advance("ERM training", step, last * per_epoch)
        if step % per_epoch == 0:
            epoch = step // per_epoch
            report.log(f"erm: epoch {epoch} of {last}, loss {loss:.3f}")
            if after_epoch is not None:
                after_epoch(epoch)

    batches = (batch for _ in range(last) for batch in epoch_batches(len(feed), config.batch_size, generator))
    train_weights(
        model,
        feed,
        Schedule(batches, config.epochs * per_epoch, config.learning_rate, config.weight_decay),
        generator=stage_generator(seed, "erm augmentation"),
        name="ERM training",
        after_step=after_step,
    )
