"""What a method is given: data without attributes, the ERM network, and functions to train with."""

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
from prusc.engine.training import LossFunction, Schedule, epoch_batches, num_epoch_batches, one_cycle, train_weights
from prusc.masks import BinaryMask
from prusc.methods.budget import early_view_name
from prusc.stages.cells import Cells
from prusc.stages.debiasing_set import draw_indices
from prusc.stages.representations import Representations, extract_representations

MadeT = TypeVar("MadeT")


@dataclass(frozen=True, eq=False)
class MethodInputs:
    """What every method is given: two splits without attributes, the ERM network, and functions to train with.

    There is no test split. Group labels are ``None``, unless the method declares that it needs them.

    Attributes:
        train: Training split, without attributes.
        val: Validation split, without attributes.
        train_groups: Group of each training sample, in ``[0, num_groups)``.
        val_groups: Group of each validation sample, in ``[0, num_groups)``.
        num_groups: Number of groups, including empty ones; 0 without group labels.
        num_classes: Number of classes.
        trained: The ERM network, on the runtime's device; a method must not change it.
        untrained: The network that ERM training started from; a method must not change it.
        clustered: The network whose representations were clustered: an early one, that before its training, or the ERM
            network; a method must not change it.
        head_name: Module name of the head.
        cells: Class and pseudo-attribute of each training sample, as PruSC has them.
        config: Every setting of the run; ``config.erm`` holds those of training.
        feed: The training split without augmentation; ``feed.of`` returns the feed of another split.
        train_feed: The training split with the augmentation of ERM.
        progress: Where progress is reported.
        made: Results that `once` has made so far, by name.
    """

    train: Split
    val: Split
    train_groups: Int[Tensor, " train"] | None
    val_groups: Int[Tensor, " val"] | None
    num_groups: int
    num_classes: int
    trained: nn.Module
    untrained: nn.Module
    clustered: nn.Module
    head_name: str
    cells: Cells
    config: RunConfig
    feed: Feed
    train_feed: Feed
    progress: Progress
    made: dict[str, Any] = field(default_factory=dict)

    def generator(self, name: str) -> torch.Generator:
        """Return the source of randomness of one step of the method, equal in all runs with the same seed."""
        return stage_generator(self.config.seed, f"{self.config.method}: {name}")

    def erm_network(self) -> nn.Module:
        """Return a copy of the ERM network."""
        return copy.deepcopy(self.trained)

    def new_network(self) -> nn.Module:
        """Return a copy of the network that ERM training started from, with random or published weights."""
        return copy.deepcopy(self.untrained)

    def once(self, name: str, make: Callable[[], MadeT]) -> MadeT:
        """Return a result that several settings of the method share; only the first one makes it.

        Args:
            name: Name of the result. It states everything that the result depends on, apart from the inputs.
            make: Makes the result, which nobody may change.
        """
        if name not in self.made:
            self.made[name] = make()
        made: MadeT = self.made[name]
        return made

    def represent(self, model: nn.Module, split: Split) -> Representations:
        """Run a network over a split, in evaluation mode and without augmentation."""
        return extract_representations(model, self.feed.of(split), head_name=self.head_name)

    def early_view(self, title: str, num_epochs: int, *, total_decay: float | None = None) -> Representations:
        """Return representations and logits of the training split by a network that was trained for a short time.

        This network has not yet memorised the samples that contradict its shortcut. Settings that train it alike share
        it.

        Args:
            title: Title of the method, for progress and errors.
            num_epochs: Passes over the training split.
            total_decay: See `fit`.
        """

        def make() -> Representations:
            schedule = self.epochs("identification", num_epochs)
            early = self.fit(self.new_network(), schedule, f"{title}, identification", total_decay=total_decay)
            return self.represent(early, self.train)

        return self.once(early_view_name(num_epochs, total_decay), make)

    def epochs(self, name: str, num_epochs: int, indices: Int[Tensor, " chosen"] | None = None) -> Schedule:
        """Return batches of whole epochs over the training split, or over some of its samples.

        Args:
            name: Name of the source of randomness.
            num_epochs: Passes over the samples.
            indices: Indices of the samples, which may repeat; all samples if ``None``.
        """
        chosen = torch.arange(len(self.train)) if indices is None else indices
        size, generator = self.config.erm.batch_size, self.generator(name)
        batches = (chosen[b] for _ in range(num_epochs) for b in epoch_batches(len(chosen), size, generator))
        return self._schedule(batches, num_epochs * num_epoch_batches(len(chosen), size))

    def draws(self, name: str, num_steps: int, weights: Float[Tensor, " train"]) -> Schedule:
        """Return batches of training samples that are drawn with replacement.

        Args:
            name: Name of the source of randomness.
            num_steps: Number of batches.
            weights: Sampling weight of each sample, at least 0; their scale does not matter.
        """
        size, generator = self.config.erm.batch_size, self.generator(name)
        return self._schedule((draw_indices(weights, size, generator) for _ in range(num_steps)), num_steps)

    @property
    def steps_per_epoch(self) -> int:
        """Number of batches of one pass over the training split."""
        return num_epoch_batches(len(self.train), self.config.erm.batch_size)

    def num_steps(self, share: float) -> int:
        """Return a share of the number of steps of ERM, at least 1."""
        return max(1, round(share * self.config.erm.epochs * self.steps_per_epoch))

    def weight_decay(self, total_decay: float) -> float:
        """Return the weight decay of AdamW that shrinks weights by ``exp(-total_decay)`` within the length of ERM.

        A weight without a gradient shrinks by the decay times the sum of the learning rates. In this measure decays can
        be compared between optimisers and lengths. Published recipes for small groups have 0.6 to 2.3. AdamW with
        weight decay 0.1 has 0.05 to 0.2 at the lengths that are usual here, which does next to nothing.

        Args:
            total_decay: Sum over the steps of ERM of learning rate times weight decay; at least 0.
        """
        num_steps = self.num_steps(1.0)
        return total_decay / (
            self.config.erm.learning_rate * sum(one_cycle(step, num_steps) for step in range(num_steps))
        )

    def fit(
        self,
        model: nn.Module,
        schedule: Schedule,
        name: str,
        *,
        loss: LossFunction | None = None,
        split: Split | None = None,
        learning_rate: float | None = None,
        total_decay: float | None = None,
        mask: BinaryMask | None = None,
    ) -> nn.Module:
        """Train a network in place and return it; the defaults are those of ERM.

        Args:
            model: A network on the runtime's device.
            schedule: The batches.
            name: Name of the training in progress and errors, and of its source of randomness.
            loss: Loss function, see `train_weights`; its inputs are augmented and normalised.
            split: Split that the batches index into; the training split if ``None``.
            learning_rate: Peak learning rate; that of ERM if ``None``.
            total_decay: Strength of the weight decay, see `weight_decay`; the weight decay of ERM if ``None``.
            mask: If given, pruned weights stay zero.
        """
        rate = schedule.learning_rate if learning_rate is None else learning_rate
        decay = schedule.weight_decay if total_decay is None else self.weight_decay(total_decay)
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
