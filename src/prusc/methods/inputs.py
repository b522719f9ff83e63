"""What a remedy is given: data without attributes, the ERM network, and the means to train."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.data.table import Split
from prusc.engine.feed import Feed
from prusc.engine.progress import Progress
from prusc.engine.runtime import stage_generator
from prusc.engine.training import LossFunction, Schedule, epoch_batches, num_epoch_batches, train_weights
from prusc.masks import BinaryMask
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import draw_indices
from prusc.stages.representations import Representations, extract_representations

MadeT = TypeVar("MadeT")


@dataclass(frozen=True, eq=False)
class MethodInputs:
    """What every remedy is given: two splits without attributes, the network, and the means to train.

    There is no test split. Group labels are there as far as the remedy declares that it needs them, else ``None``.

    Attributes:
        train: Training split, without attributes.
        val: Validation split, without attributes.
        train_groups: Group of each training sample, in ``[0, num_groups)``.
        val_groups: Likewise for validation.
        num_groups: Number of groups, the empty ones counted; 0 if no group labels are given.
        num_classes: Number of classes.
        trained: The ERM network, on the runtime's device; not to be changed.
        untrained: What ERM training began with; not to be changed.
        head_name: Module name of the head.
        cells: Class and pseudo-attribute of each training sample, those of PruSC.
        config: Every setting of the run; ``config.erm`` says how networks are trained.
        feed: The training split without augmentation; ``feed.of`` gives that of another split.
        train_feed: The training split with the augmentation of ERM.
        progress: Where progress is reported.
        made: What `once` has made so far, by name.
    """

    train: Split
    val: Split
    train_groups: Int[Tensor, " train"] | None
    val_groups: Int[Tensor, " val"] | None
    num_groups: int
    num_classes: int
    trained: nn.Module
    untrained: nn.Module
    head_name: str
    cells: Cells
    config: RunConfig
    feed: Feed
    train_feed: Feed
    progress: Progress
    made: dict[str, Any] = field(default_factory=dict)

    def generator(self, name: str) -> torch.Generator:
        """Return the source of randomness of one step of the remedy, the same in every run of the same seed."""
        return stage_generator(self.config.seed, f"{self.config.method}: {name}")

    def erm_network(self) -> nn.Module:
        """Return a copy of the ERM network."""
        return copy.deepcopy(self.trained)

    def new_network(self) -> nn.Module:
        """Return a copy of what ERM training began with: random weights, or published ones."""
        return copy.deepcopy(self.untrained)

    def once(self, name: str, make: Callable[[], MadeT]) -> MadeT:
        """Return what several settings of the remedy share, made for the first of them; it is not to be changed.

        Args:
            name: Says everything that decides it.
            make: Makes it; a function of the inputs and of what the name says.
        """
        if name not in self.made:
            self.made[name] = make()
        made: MadeT = self.made[name]
        return made

    def represent(self, model: nn.Module, split: Split) -> Representations:
        """Run a network over a split, in evaluation mode and without augmentation."""
        return extract_representations(model, self.feed.of(split), head_name=self.head_name)

    def early_view(self, title: str, num_epochs: int, *, weight_decay: float | None = None) -> Representations:
        """Return what a network that was trained for a short time sees of the training split.

        It has not memorised the samples that contradict its shortcut yet. Settings that train it alike share it.

        Args:
            title: Of the remedy.
            num_epochs: Passes over the training split.
            weight_decay: Of AdamW; that of ERM if ``None``.
        """

        def make() -> Representations:
            schedule = self.epochs("identification", num_epochs)
            early = self.fit(self.new_network(), schedule, f"{title}, identification", weight_decay=weight_decay)
            return self.represent(early, self.train)

        return self.once(f"view after {num_epochs} epochs, weight decay {weight_decay}", make)

    def epochs(self, name: str, num_epochs: int, indices: Int[Tensor, " chosen"] | None = None) -> Schedule:
        """Return the batches of some epochs over the training split, or over some of its samples.

        Args:
            name: Names the randomness.
            num_epochs: Passes over the samples.
            indices: Which samples, one as often as its index is repeated; all of them if ``None``.
        """
        chosen = torch.arange(len(self.train)) if indices is None else indices
        size, generator = self.config.erm.batch_size, self.generator(name)
        batches = (chosen[b] for _ in range(num_epochs) for b in epoch_batches(len(chosen), size, generator))
        return self._schedule(batches, num_epochs * num_epoch_batches(len(chosen), size))

    def draws(self, name: str, num_steps: int, weights: Float[Tensor, " train"]) -> Schedule:
        """Return batches of training samples that are drawn with replacement.

        Args:
            name: Names the randomness.
            num_steps: Number of batches.
            weights: Of each sample, at least 0; their scale does not matter.
        """
        size, generator = self.config.erm.batch_size, self.generator(name)
        return self._schedule((draw_indices(weights, size, generator) for _ in range(num_steps)), num_steps)

    @property
    def steps_per_epoch(self) -> int:
        """Batches of one pass over the training split."""
        return num_epoch_batches(len(self.train), self.config.erm.batch_size)

    def num_steps(self, share: float) -> int:
        """Return a share of the number of steps of ERM, at least 1."""
        return max(1, round(share * self.config.erm.epochs * self.steps_per_epoch))

    def fit(
        self,
        model: nn.Module,
        schedule: Schedule,
        name: str,
        *,
        loss: LossFunction | None = None,
        split: Split | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        mask: BinaryMask | None = None,
    ) -> nn.Module:
        """Train a network in place, as ERM does where nothing else is said, and return it.

        Args:
            model: On the runtime's device.
            schedule: The batches.
            name: Names the training in progress and errors, and its randomness.
            loss: See `train_weights`; it is given inputs that are augmented and normalised.
            split: Where the batches index into; the training split if ``None``.
            learning_rate: Peak; that of ERM if ``None``.
            weight_decay: Of AdamW; that of ERM if ``None``.
            mask: If given, pruned weights stay zero.
        """
        rate = schedule.learning_rate if learning_rate is None else learning_rate
        decay = schedule.weight_decay if weight_decay is None else weight_decay
        train_weights(
            model,
            self.train_feed if split is None else self.train_feed.of(split),
            replace(schedule, learning_rate=rate, weight_decay=decay),
            generator=self.generator(f"{name}, augmentation"),
            name=name,
            loss_function=loss,
            mask=mask,
            after_step=lambda step, _: self.progress.advance(name, step, schedule.num_steps),
        )
        return model

    def _schedule(self, batches: Iterable[Tensor], num_steps: int) -> Schedule:
        return Schedule(batches, num_steps, self.config.erm.learning_rate, self.config.erm.weight_decay)
