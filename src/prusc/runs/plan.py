"""The stages of a run in their order, and how much work each one is, so that the time left can be told."""

from prusc.config import RunConfig
from prusc.data.table import Data

# A training step computes a forward pass, and a backward pass that takes about twice as long.
_TRAINING = 3.0


def plan_stages(config: RunConfig, data: Data, *, is_trained: bool, is_audit: bool) -> dict[str, float]:
    """Return the stages of an audit or of a run of prusc, each with its work: how many samples pass forward.

    The numbers are estimates, from which the time left is told. Stages ``NAME@STEP`` count together as ``NAME``.

    Args:
        config: All settings.
        data: The data of the run.
        is_trained: Whether a trained network was given.
        is_audit: Whether only the stages of an audit follow.
    """
    train, val, test = (len(split) for split in data.splits.values())
    epoch = config.early_epoch
    work = {"erm": 0.0 if is_trained else _TRAINING * train * config.erm.epochs}
    if is_trained and config.clustering.from_csv is None and epoch is not None:
        work["early_network"] = _TRAINING * train * epoch
    work["clustering"] = float(train + val)
    if is_audit:
        return {**work, "audit": float(2 * val)}
    masks, finetune = config.masks.fill(train, config.erm), config.finetune
    steps, batch_size = finetune.count_steps(train, config.erm)
    views = 1 if finetune.head_l2 and not config.head_folds else 0
    heads = float(val + views * train)
    weights = _TRAINING * steps * batch_size * len(finetune.learning_rates)
    work |= {"debiasing_set": 0.0, "masks": _TRAINING * masks.steps * masks.batch_size}
    work["controls"] = heads + (weights if config.controls else 0.0)
    work["candidates"] = masks.snapshots * heads
    if finetune.learning_rates:
        work["weights"] = weights
    return {**work, "evaluation": float(4 * (val + test))}


def describe_time(seconds: float) -> str:
    """Return a time to a precision that an estimate has."""
    if seconds < 90:
        return f"{max(round(seconds / 5) * 5, 5)} s"
    return f"{round(seconds / 60)} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"
