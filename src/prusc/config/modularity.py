"""Settings of functional modularity: masks that keep what single functions of a network need."""

from dataclasses import dataclass, field

from prusc.config.checks import require, require_rate


@dataclass(frozen=True)
class FunctionMaskConfig:
    """Learning of one function's mask. The published settings have more steps and smaller rates.

    Attributes:
        steps: Number of optimiser steps for each mask.
        batch_size: Samples per step.
        mask_samples: Number of masks sampled per step; each one sees its own slice of the batch.
        learning_rate: Learning rate of Adam on the mask logits.
        initial_logit: Initial value of all mask logits.
        sparsity: Weight of the sum of the mask logits; it is divided by the batch size.
        clip: Largest norm of the gradient of all mask logits together.
        include: Shell patterns of the names of the parameters that are masked.
        exclude: Shell patterns of the names of the parameters that are never masked.
        require_skill: Refuse a function that the network does not solve better than chance, because its mask then says
            nothing about the network.
    """

    steps: int = 500
    batch_size: int = 64
    mask_samples: int = 4
    learning_rate: float = 3e-2
    initial_logit: float = 2.0
    sparsity: float = 3e-4
    clip: float = 1.0
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    require_skill: bool = True

    def __post_init__(self) -> None:
        require(self.steps >= 1, "modularity.masks.steps", self.steps, "at least 1")
        require(self.batch_size >= 1, "modularity.masks.batch_size", self.batch_size, "at least 1")
        require(
            1 <= self.mask_samples <= self.batch_size,
            "modularity.masks.mask_samples",
            self.mask_samples,
            f"in 1..batch_size ({self.batch_size})",
        )
        require_rate("modularity.masks.learning_rate", self.learning_rate)
        require(self.sparsity >= 0, "modularity.masks.sparsity", self.sparsity, "at least 0")
        require(self.clip > 0, "modularity.masks.clip", self.clip, "greater than 0")


@dataclass(frozen=True)
class ModularityConfig:
    """Which functions of a network get masks, and how often.

    Attributes:
        by: What divides the samples into functions. ``class`` removes one class after the other. ``attribute:NAME``
            takes the samples of each value of an attribute that the data have. ``column:NAME`` reads the attribute from
            a column of the data's table.
        num_seeds: Number of masks per function, with different seeds. Two masks of one function are the yardstick for
            masks of different functions, so it is at least 2.
        masks: Learning of one function's mask.
    """

    by: str = "class"
    num_seeds: int = 2
    masks: FunctionMaskConfig = field(default_factory=FunctionMaskConfig)

    def __post_init__(self) -> None:
        kind, _, name = self.by.partition(":")
        require(
            self.by == "class" or (kind in ("attribute", "column") and bool(name)),
            "modularity.by",
            self.by,
            "class, attribute:NAME or column:NAME",
        )
        require(self.num_seeds >= 2, "modularity.num_seeds", self.num_seeds, "at least 2")
