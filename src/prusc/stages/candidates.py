"""Stage 8: make the networks that are compared: what may follow a mask, and the same without one."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor, nn

from prusc.config import RunConfig
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
from prusc.stages.representations import Representations, extract_representations
from prusc.stages.subnetwork import draw_statistics_batches, extract_subnetwork

DENSE = "dense"
"""What the network without a mask is called."""

DENSE_FAMILIES = {"as-is": "erm", "head": "last_layer", "weights": "finetune_all"}
"""What the candidates of the dense network are called, by what was fitted."""


@dataclass(frozen=True, eq=False)
class Candidate:
    """One network that could be the result. It is a recipe: `CandidateContext.make_again` makes the network.

    Attributes:
        name: Where it comes from, such as ``mask@300/head(l2=0.01)``.
        kind: ``as-is``, ``head`` or ``weights``: what was fitted after the mask.
        mask: Which weights it keeps.
        val_logits: Its logits on the validation split. Those of a head that was fitted there are of heads that were
            fitted without the sample's fold.
        test: Figures on the test split, where they were asked for.
        head: Its head, where that was fitted.
        learning_rate: Of the training of its weights, where they were trained.
        state: Its state dict, where it is at hand. Without it, trained weights are trained again if they are chosen.
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
        """What the base network is called: ``dense``, or by the step of its mask."""
        return self.name.partition("/")[0]

    @property
    def val_predictions(self) -> Tensor:
        """Predicted class of each validation sample."""
        return self.val_logits.argmax(dim=1)


@dataclass(frozen=True, eq=False)
class CandidateContext:
    """What every candidate is made with.

    Attributes:
        model: The ERM network, on the runtime's device; not changed.
        head_name: Module name of its head.
        data: Whose splits are used.
        feed: The data as networks are evaluated on them: without augmentation.
        draws: The split that the de-biasing set draws from, with the augmentation of its draws.
        debiasing_set: How it draws.
        folds: How validation samples are drawn for heads; ``None`` if these are fitted on the de-biasing set.
        config: Every setting.
        progress: Where progress is reported.
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

    @property
    def val(self) -> Feed:
        """The validation split."""
        return self.feed.of(self.data.val)

    @property
    def test(self) -> Feed:
        """The test split."""
        return self.feed.of(self.data.test)

    def represent(self, model: nn.Module, feed: Feed, generator: torch.Generator | None = None) -> Representations:
        """Run a network over a split."""
        return extract_representations(model, feed, head_name=self.head_name, generator=generator)

    def make_base(self, name: str, mask: BinaryMask) -> nn.Module:
        """Return the network that candidates are made of: the ERM network, or what a mask keeps of it."""
        if name == DENSE:
            return self.model
        config = self.config.masks
        generator = stage_generator(self.config.seed, "batch norm statistics")
        batches = draw_statistics_batches(self.debiasing_set, config.batch_size, generator)
        source = self.feed.of(self.draws.split)
        return extract_subnetwork(self.model, mask, source, batches if config.reestimate_batch_norm else ())

    def train(self, base: nn.Module, name: str, mask: BinaryMask, learning_rate: float) -> nn.Module:
        """Return a copy of a network, all of its surviving weights trained on the de-biasing set."""
        config = self.config.finetune
        generator = stage_generator(self.config.seed, name)
        batches = (self.debiasing_set.draw(config.batch_size, generator) for _ in range(config.steps))
        model = copy.deepcopy(base)
        train_weights(
            model,
            self.draws,
            Schedule(batches, config.steps, learning_rate, config.weight_decay),
            generator=generator,
            name=f"fine-tuning {name}",
            mask=mask,
            after_step=lambda step, _: self.progress.advance(name, step, config.steps),
        )
        return model

    def make_again(self, candidate: Candidate) -> nn.Module:
        """Return the network of a candidate, a copy.

        Weights that are not at hand are trained again. The same machine and number of threads give the same weights.
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

    def test_logits(self, model: nn.Module) -> Representations | None:
        """Run a network over the test split, where candidates are to be evaluated on it; never to choose one."""
        return self.represent(model, self.test) if self.config.evaluate_candidates else None

    def evaluate(self, logits: Tensor | None) -> GroupEvaluation | None:
        """Evaluate logits of the test split, where there are any."""
        return None if logits is None else evaluate_groups(logits.argmax(dim=1), self.data.test, self.data)


def try_heads(name: str, mask: BinaryMask, context: CandidateContext) -> list[Candidate]:
    """Make candidates of a network as it is and with refitted heads.

    Args:
        name: ``dense``, or what to call the network with a mask.
        mask: Which weights it keeps.
        context: What every candidate is made with.

    Returns:
        The network as it is, then the heads, the most strongly regularised first.
    """
    base = context.make_base(name, mask)
    val, test = context.represent(base, context.val), context.test_logits(base)
    found = [Candidate(name, "as-is", mask, val.logits, context.evaluate(None if test is None else test.logits))]
    l2s = sorted(context.config.finetune.head_l2, reverse=True)
    if not l2s:
        return found
    fit = _HeadFitter(base, name, val.values, context)
    # The head is fitted anew, so none of its weights is pruned any more.
    head_weight = f"{context.head_name}.weight"
    whole_head = BinaryMask(
        {key: torch.ones_like(kept) if key == head_weight else kept for key, kept in mask.tensors.items()}
    )
    for l2 in l2s:
        head, val_logits = fit(l2)
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
    """Fits heads of any strength of regularisation to one network, and gives their logits on validation.

    Args:
        base: The network.
        name: Names it.
        val: Its representations of the validation split.
        context: What every candidate is made with.
    """

    def __init__(self, base: nn.Module, name: str, val: Tensor, context: CandidateContext) -> None:
        self.val, self.folds = val, context.folds
        self.num_classes = context.data.num_classes
        self.has_bias = get_head(base, context.head_name).bias is not None
        if self.folds is None:
            views = _represent_views(base, name, context)
            self.values = torch.cat(views)
            self.labels = context.draws.split.labels.repeat(len(views))
            self.weights = context.debiasing_set.weights.repeat(len(views))

    def __call__(self, l2: float) -> tuple[Head, Tensor]:
        if self.folds is not None:
            return self.folds.fit(self.val, l2=l2, num_classes=self.num_classes, has_bias=self.has_bias)
        head = fit_head(
            self.values, self.labels, self.weights, l2=l2, num_classes=self.num_classes, has_bias=self.has_bias
        )
        return head, head.logits(self.val)


def _represent_views(base: nn.Module, name: str, context: CandidateContext) -> list[Tensor]:
    """Return the representations that heads are fitted on: of random views of the images, or of these as they are."""
    num_views = context.config.finetune.head_views
    if not num_views:
        return [context.represent(base, context.feed.of(context.draws.split)).values]
    generators = (
        stage_generator(context.config.seed, f"view {number} for the heads of {name}") for number in range(num_views)
    )
    return [context.represent(base, context.draws, generator).values for generator in generators]


def try_training(name: str, mask: BinaryMask, context: CandidateContext) -> list[Candidate]:
    """Make candidates of a network by training its surviving weights, one for every learning rate.

    Args:
        name: As in `try_heads`.
        mask: Which weights it keeps.
        context: What every candidate is made with.

    Returns:
        All of them. The last one's state is at hand; the others are trained again if they are chosen.
    """
    base = context.make_base(name, mask)
    found: list[Candidate] = []
    for rate in context.config.finetune.learning_rates:
        full_name = f"{name}/weights(lr={rate:g})"
        model = context.train(base, full_name, mask, rate)
        test = context.test_logits(model)
        found = [replace(candidate, state={}) for candidate in found]
        found.append(
            Candidate(
                name=full_name,
                kind="weights",
                mask=mask,
                val_logits=context.represent(model, context.val).logits,
                test=context.evaluate(None if test is None else test.logits),
                learning_rate=rate,
                state=copy_state(model),
            )
        )
    return found
