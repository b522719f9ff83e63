"""Stage 8: make the candidates: a network with or without a mask, as it is, with a new head, or fine-tuned."""

import copy
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn

from prusc.config import RunConfig
from prusc.config.stages import FilledMaskConfig
from prusc.data.rows import StoredRows
from prusc.data.table import Data
from prusc.engine.feed import Feed
from prusc.engine.progress import Progress
from prusc.engine.runtime import stage_generator
from prusc.engine.training import Schedule, train_weights
from prusc.masks import BinaryMask
from prusc.models.head import get_head
from prusc.models.weights import copy_state
from prusc.stages.cross_fitting import Folds
from prusc.stages.debiasing_set import DebiasingSet
from prusc.stages.evaluation import GroupEvaluation, evaluate_groups
from prusc.stages.heads import Head, fit_head
from prusc.stages.kept_representations import ERM, KeptRepresentations
from prusc.stages.representations import Representations, extract_representations
from prusc.stages.subnetwork import draw_statistics_batches, extract_subnetwork

DENSE = ERM
"""Base name of candidates without a mask."""

_MAX_BASES = 2

DENSE_FAMILIES = {"as-is": "erm", "head": "last_layer", "weights": "finetune_all"}
"""Family of the candidates without a mask, by their kind."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """A network that may be chosen, as a recipe: `CandidateContext.make_again` returns the network.

    Attributes:
        name: How it was made, such as ``mask@300/head(l2=0.01)``.
        kind: What was fitted after the mask: nothing (``as-is``), the ``head``, or all ``weights``.
        mask: The weights it keeps.
        val_logits: Logits on the validation split. If its head was fitted there, they are cross-fitted: the head behind
            a sample's logits has not seen the sample's fold.
        test: Evaluation on the test split, if the run asks for it.
        head: Its head, if one was fitted.
        learning_rate: Learning rate of its fine-tuning, if its weights were trained.
        state: Its state dict, if stored. Without it, a chosen candidate of kind ``weights`` is trained again.
    """

    name: str
    kind: str
    mask: BinaryMask
    val_logits: Tensor
    test: GroupEvaluation | None = None
    head: Head | None = None
    learning_rate: float | None = None
    state: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def base_name(self) -> str:
        """Name of the base network: ``dense``, or ``mask@`` and the step of its mask."""
        return self.name.partition("/")[0]

    @property
    def val_predictions(self) -> Tensor:
        """Predicted class of each validation sample."""
        return self.val_logits.argmax(dim=1)


@dataclass(frozen=True, eq=False)
class CandidateContext:
    """What all candidates are made from.

    Attributes:
        model: The ERM network, on the runtime's device; not changed.
        head_name: Module name of its head.
        data: The data of the run.
        feed: A feed without augmentation, for evaluation.
        draws: The split that the de-biasing set draws from, with the augmentation of its draws.
        debiasing_set: Sampling probabilities of that split.
        folds: Cross-fitting folds of the validation split; ``None`` if heads are fitted on the de-biasing set.
        config: Every setting.
        progress: Where progress is reported.
        kept: Representations that were extracted already.
        bases: The base networks that were made last.
    """

    model: nn.Module
    head_name: str
    data: Data
    feed: Feed
    draws: Feed
    debiasing_set: DebiasingSet
    folds: Folds | None
    config: RunConfig
    progress: Progress
    kept: KeptRepresentations = field(default_factory=KeptRepresentations)
    bases: dict[Hashable, nn.Module] = field(default_factory=dict)

    @property
    def val(self) -> Feed:
        """The validation split."""
        return self.feed.of(self.data.val)

    @property
    def test(self) -> Feed:
        """The test split."""
        return self.feed.of(self.data.test)

    def represent(self, model: nn.Module, feed: Feed) -> Representations:
        """Run a network over a split."""
        return extract_representations(model, feed, head_name=self.head_name)

    @property
    def masks(self) -> FilledMaskConfig:
        """Settings of mask learning, with numbers for what was not given."""
        return self.config.masks.fill(len(self.data.train), self.config.erm)

    def make_base(self, name: str, mask: BinaryMask) -> nn.Module:
        """Return the base network of candidates: the ERM network, or its subnetwork under a mask; nobody changes it."""
        if name == DENSE:
            return self.model
        key = _identify(name, mask)
        if key not in self.bases:
            while len(self.bases) >= _MAX_BASES:
                del self.bases[next(iter(self.bases))]
            self.bases[key] = self._extract_base(mask)
        return self.bases[key]

    def _extract_base(self, mask: BinaryMask) -> nn.Module:
        config = self.masks
        generator = stage_generator(self.config.seed, "batch norm statistics")
        batches = draw_statistics_batches(self.debiasing_set, config.batch_size, generator)
        source = self.feed.of(self.draws.split)
        return extract_subnetwork(self.model, mask, source, batches if config.reestimate_batch_norm else ())

    def train(self, base: nn.Module, name: str, mask: BinaryMask, learning_rate: float) -> nn.Module:
        """Return a copy of a network with all surviving weights fine-tuned on the de-biasing set."""
        config = self.config.finetune
        steps, batch_size = config.count_steps(len(self.data.train), self.config.erm)
        generator = stage_generator(self.config.seed, name)
        batches = (self.debiasing_set.draw(batch_size, generator) for _ in range(steps))
        model = copy.deepcopy(base)
        train_weights(
            model,
            self.draws,
            Schedule(batches, steps, learning_rate, config.weight_decay),
            generator=generator,
            name=f"fine-tuning {name}",
            mask=mask,
            after_step=lambda step, _: self.progress.advance(name, step, steps),
        )
        return model

    def make_again(self, candidate: Candidate) -> nn.Module:
        """Return the network of a candidate, as a copy.

        Weights that are not stored are trained again; the same machine and number of threads give the same weights.
        """
        if candidate.state:
            network = copy.deepcopy(self.model)
            network.load_state_dict(candidate.state)
            return network
        base = self.make_base(candidate.base_name, candidate.mask)
        if candidate.learning_rate is not None:
            return self.train(base, candidate.name, candidate.mask, candidate.learning_rate)
        network = copy.deepcopy(base)
        if candidate.head is not None:
            candidate.head.apply(network, self.head_name)
        return network

    def represent_base(self, name: str, mask: BinaryMask, split: str) -> Representations:
        """Run the base network of candidates over a split, unless that has been done."""
        feed = self.feed.of(self.data.splits[split])
        return self.kept.take(_identify(name, mask), split, lambda: self.represent(self.make_base(name, mask), feed))

    def represent_candidate(self, candidate: Candidate, network: nn.Module, split: str) -> Representations:
        """Run the network of a candidate over a split, unless its representations are known already.

        Args:
            candidate: Without weights of its own, it shares the representations of its base network.
            network: Its network.
            split: Name of the split.
        """
        if candidate.state or candidate.learning_rate is not None:
            feed = self.feed.of(self.data.splits[split])
            return self.kept.take(candidate.name, split, lambda: self.represent(network, feed))
        found = self.represent_base(candidate.base_name, candidate.mask, split)
        return found if candidate.head is None else replace(found, logits=candidate.head.logits(found.values))

    def evaluate(self, logits: Tensor | None) -> GroupEvaluation | None:
        """Evaluate logits of the test split, if there are any."""
        return None if logits is None else evaluate_groups(logits.argmax(dim=1), self.data.test, self.data)


def try_heads(name: str, mask: BinaryMask, context: CandidateContext) -> list[Candidate]:
    """Make candidates of a base network: the network as it is, and with refitted heads.

    Args:
        name: Base name: ``dense``, or ``mask@`` and the step of the mask.
        mask: The weights it keeps.
        context: What all candidates are made from.

    Returns:
        The network as it is, then the heads, the most strongly regularised first.
    """
    val = context.represent_base(name, mask, "val")
    test = context.represent_base(name, mask, "test") if context.config.evaluate_candidates else None
    found = [Candidate(name, "as-is", mask, val.logits, context.evaluate(None if test is None else test.logits))]
    l2s = sorted(context.config.finetune.head_l2, reverse=True)
    if not l2s:
        return found
    fit = _HeadFitter(context.make_base(name, mask), val.values, context)
    # A refitted head has no pruned weights, but it cannot read channels that are gone: they are constant.
    head_weight = "" if context.config.masks.by_channel else f"{context.head_name}.weight"
    whole_head = BinaryMask(
        {key: torch.ones_like(kept) if key == head_weight else kept for key, kept in mask.tensors.items()}
    )
    fits = context.feed.runtime.share([partial(fit, l2) for l2 in l2s])
    for l2, (head, val_logits) in zip(l2s, fits, strict=True):
        found.append(
            Candidate(
                name=f"{name}/head(l2={l2:g})",
                kind="head",
                mask=whole_head,
                val_logits=val_logits,
                test=context.evaluate(None if test is None else head.logits(test.values)),
                head=head,
            )
        )
    return found


class _HeadFitter:
    """Fits heads of any l2 to one network, and returns them with their logits on the validation split.

    Args:
        base: The network.
        val: Its representations of the validation split.
        context: What all candidates are made from.
    """

    def __init__(self, base: nn.Module, val: Tensor | StoredRows, context: CandidateContext) -> None:
        self.val, self.folds = val, context.folds
        self.num_classes = context.data.num_classes
        self.has_bias = get_head(base, context.head_name).bias is not None
        if self.folds is None:
            self.values = context.represent(base, context.feed.of(context.draws.split)).values
            self.labels = context.draws.split.labels
            self.weights = context.debiasing_set.weights

    def __call__(self, l2: float) -> tuple[Head, Tensor]:
        if self.folds is not None:
            return self.folds.fit(self.val, l2=l2, num_classes=self.num_classes, has_bias=self.has_bias)
        head = fit_head(
            self.values, self.labels, self.weights, l2=l2, num_classes=self.num_classes, has_bias=self.has_bias
        )
        return head, head.logits(self.val)


def try_training(name: str, mask: BinaryMask, context: CandidateContext) -> list[Candidate]:
    """Make candidates of a base network by fine-tuning its surviving weights, one for each learning rate.

    Args:
        name: As in `try_heads`.
        mask: The weights it keeps.
        context: What all candidates are made from.

    Returns:
        One candidate per learning rate. Only the last one stores its state; a chosen other one is trained again.
    """
    base = context.make_base(name, mask)
    found: list[Candidate] = []
    for rate in context.config.finetune.learning_rates:
        full_name = f"{name}/weights(lr={rate:g})"
        model = context.train(base, full_name, mask, rate)
        found = [replace(candidate, state={}) for candidate in found]
        made = Candidate(full_name, "weights", mask, torch.empty(0), learning_rate=rate, state=copy_state(model))
        val = context.represent_candidate(made, model, "val")
        test = context.represent_candidate(made, model, "test") if context.config.evaluate_candidates else None
        evaluation = context.evaluate(None if test is None else test.logits)
        found.append(replace(made, val_logits=val.logits, test=evaluation))
    return found


def _identify(name: str, mask: BinaryMask) -> Hashable:
    """Return what a base network is known by; a mask may also cover the head or leave it whole, for a new head."""
    if name == DENSE:
        return ERM
    return name, tuple((key, int(kept.sum())) for key, kept in mask.tensors.items())
